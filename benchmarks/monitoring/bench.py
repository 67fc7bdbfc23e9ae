"""Error rates of the confidence bounds of the monitoring, by simulation.

A healthy model forecasts windows of days whose errors are alike from day to day (AR(1)), differ by
weekday, and have a part in common over the series; some days are missing. The bound called 97.5 %
is wrong where the lower bound of WAPE lies above the true one, or the upper bound of coverage below
80 %. The bounds were chosen on normal errors with seed 0. Beside these there is a process that they
were not chosen on: errors with the tails of Student's t of three degrees of freedom, multiplied by
a level that all series share and that wanders. `python -m benchmarks.monitoring.bench --help`
"""

import argparse
import itertools
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from lib.monitoring.accuracy import MIN_DAYS
from lib.monitoring.intervals import ratio_interval

DAYS = 21  # the longest window
NOISE, LEVEL = 10.0, 100.0
FIRST_SEED = 1000  # the bounds were chosen with seed 0
PROCESSES = ("normal", "heavy")
# Middle to either end of the interval that covers 80 %, and the mean absolute error.
_REACH = {"normal": 1.2815515655446004, "heavy": 1.6377443536962102}
_MEAN = {"normal": np.sqrt(2 / np.pi), "heavy": 2 * np.sqrt(3) / np.pi}
_SWING = 0.3  # standard deviation of the logarithm of the level of heavy days
_BURN_IN = 50
_BATCH = 2000  # windows simulated at a time
CORRELATIONS, SERIES = (0.0, 0.5, 0.8), (1, 4, 16, 100)
# Swing of the week, share of days missing, share of the variance that series have in common.
SITUATIONS = ((0.0, 0.0, 0.0), (0.4, 0.0, 0.0), (0.0, 0.2, 0.3), (0.4, 0.2, 0.3))


@dataclass(frozen=True)
class Cell:
    """One situation, how often each bound was wrong in it, and how far below WAPE its bound is."""

    correlation: float
    series: int
    week: float
    missing: float
    common: float
    days: int
    windows: int
    wape_wrong: float
    coverage_wrong: float
    wape_reach: float
    process: str = "normal"


def simulate_errors(
    rng: np.random.Generator, windows: int, series: int, correlation: float, common: float
) -> np.ndarray:
    """Standard normal errors, (windows, DAYS, series), AR(1) over the days."""
    shape = (windows, _BURN_IN + DAYS, series)
    shocks = np.sqrt(1 - common) * rng.normal(size=shape)
    shocks += np.sqrt(common) * rng.normal(size=(*shape[:2], 1))
    errors = shocks.copy()
    for day in range(1, shape[1]):
        errors[:, day] = (
            correlation * errors[:, day - 1] + np.sqrt(1 - correlation**2) * shocks[:, day]
        )
    return errors[:, _BURN_IN:]


def measure(
    correlation: float,
    series: int,
    week: float,
    missing: float,
    common: float,
    *,
    windows: int,
    days: int = DAYS,
    seed: int = FIRST_SEED,
    process: str = "normal",
) -> Cell:
    """Simulate the windows of one situation and count the bounds that are wrong."""
    rng = np.random.default_rng([seed, series, round(100 * correlation), round(100 * week)])
    total = np.zeros(3)
    for start in range(0, windows, _BATCH):
        errors = simulate_errors(rng, min(_BATCH, windows - start), series, correlation, common)
        total += _count_wrong(rng, errors[:, -days:], correlation, week, missing, process)
    wape_wrong, coverage_wrong, reach = (float(rate) for rate in total / windows)
    return Cell(
        correlation, series, week, missing, common, days, windows, wape_wrong, coverage_wrong,
        reach, process,
    )  # fmt: skip


def _count_wrong(
    rng: np.random.Generator,
    errors: np.ndarray,
    correlation: float,
    week: float,
    missing: float,
    process: str,
) -> np.ndarray:
    """Count wrong bounds of WAPE and of coverage, and sum how far below WAPE its bound is."""
    windows, days, _ = errors.shape
    angle = 2 * np.pi * np.arange(days) / 7
    noise, level = NOISE * (1 + week * np.cos(angle)), LEVEL * (1 + week * np.sin(angle))
    true = float((noise * _MEAN[process]).sum() / level.sum())
    swing = np.ones((windows, days))
    if process == "heavy":
        errors = errors / np.sqrt(rng.chisquare(3, errors.shape) / 3)  # Student's t
        swing = np.exp(_SWING * simulate_errors(rng, windows, 1, correlation, 0.0)[:, -days:, 0])
    noise, level = noise * swing, level * swing
    size, covered = noise[..., None] * np.abs(errors), np.abs(errors) < _REACH[process]
    known = rng.random(errors.shape) >= missing
    found = np.zeros(3)
    for window in range(windows):
        day = np.flatnonzero(known[window].any(axis=1))
        mask = known[window][day]
        count = mask.sum(axis=1)
        weight = level[window][day] * count
        low, _ = ratio_interval((size[window][day] * mask).sum(axis=1), weight, day)
        _, high = ratio_interval((covered[window][day] * mask).sum(axis=1), 1.0 * count, day)
        found += low > true, high < 0.8, (true - low) / true
    return found


def table(cells: list[Cell]) -> str:
    """The cells as a Markdown table, rates in per cent."""
    lines = [
        "| errors | days | AR(1) | series | week | missing | in common | WAPE wrong "
        "| coverage wrong |",
        "|--|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    lines += [
        f"| {c.process} | {c.days} | {c.correlation:g} | {c.series} | {c.week:g} | {c.missing:.0%} "
        f"| {c.common:.0%} | {c.wape_wrong:.1%} | {c.coverage_wrong:.1%} |"
        for c in cells
    ]
    return "\n".join(lines)


def summarise(cells: list[Cell]) -> str:
    """Return mean and worst error rate by process, days and AR(1), as a Markdown table."""
    lines = [
        "\n| errors | days | AR(1) | WAPE wrong, mean | worst | coverage wrong, mean | worst |",
        "|--|--:|--:|--:|--:|--:|--:|",
    ]
    groups = itertools.groupby(cells, key=lambda c: (c.process, c.days, c.correlation))
    for (process, days, correlation), group in groups:
        rates = np.array([(c.wape_wrong, c.coverage_wrong) for c in group])
        (wape, coverage), (worst_wape, worst_coverage) = rates.mean(axis=0), rates.max(axis=0)
        lines.append(
            f"| {process} | {days} | {correlation:g} | {wape:.1%} | {worst_wape:.1%} "
            f"| {coverage:.1%} | {worst_coverage:.1%} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.monitoring.bench")
    parser.add_argument("--windows", type=int, default=2000, help="simulated windows a situation")
    parser.add_argument("--seed", type=int, default=FIRST_SEED)
    parser.add_argument("--out", type=Path, default=Path("var/bench-monitoring.json"))
    options = parser.parse_args()
    cells = [
        measure(
            *where,
            *situation,
            windows=options.windows,
            days=days,
            seed=options.seed,
            process=process,
        )
        for process, days, *where, situation in itertools.product(
            PROCESSES, (DAYS, MIN_DAYS), CORRELATIONS, SERIES, SITUATIONS
        )
    ]
    print(table(cells))
    print(summarise(cells))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps([asdict(cell) for cell in cells], indent=1) + "\n")
    print(f"\nwritten to {options.out}")


if __name__ == "__main__":
    main()
