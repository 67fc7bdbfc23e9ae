"""Totals, orders and scenarios in a backtest: what their intervals cover.

Each model learns the days up to the first cutoff alone. `python -m benchmarks.planning.bench
--help`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import binom

from lib import evaluation
from lib.data import (
    Panel,
    SynthesisSpec,
    choose_validation_days,
    load,
    split_days,
    synthesize,
    to_panel,
    to_table,
)
from lib.data.components import EVENT_PROFILE
from lib.features import values_at
from lib.forecasting.fitting import make_model
from lib.inference import PathSampler, ServedModel, choose_order, forecast_panel
from lib.log import configure_logging
from lib.settings import ROOT

HERE = Path(__file__).parent
HORIZON, LEAD_TIME, SERVICE_LEVEL, STEP = 28, 7, 0.95, 28
CUTOFFS = {"nn5": 6}
SYNTHETIC = 12  # cutoffs: most of a year
WITHIN = (0.93, 0.97)  # achieved service


@dataclass(frozen=True)
class World:
    """Series to plan for.

    Attributes:
        panel: of them.
        demand: (N,) what is sold, under gaps too where it is known.
        trend: (N,) of synthetic series, NaN where it is not known.
        event: effect of an event, as a share of the trend.
    """

    panel: Panel
    demand: np.ndarray
    trend: np.ndarray
    event: float = 0.0


def read_world(name: str, data: Path, leave_out: int) -> World:
    """Return the series of `nn5`, or of `synthetic-SEED`, without the last `leave_out` days."""
    if name.startswith("synthetic-"):
        spec = SynthesisSpec(n_series=16, n_days=1461)
        panel, truth = synthesize(spec, int(name.removeprefix("synthetic-")))
        demand, trend, event = truth["true_value"], truth["trend"], spec.event
    else:
        panel, event = to_panel(load(data / f"{name}_daily.csv")), 0.0
        demand, trend = pd.Series(panel.values), pd.Series(np.full(len(panel.values), np.nan))
    kept = panel.dates <= panel.dates.max() - leave_out
    panel = to_panel(to_table(panel)[kept])
    return World(panel, demand.to_numpy()[kept], trend.to_numpy()[kept], event)


def measure(world: World, *, cutoffs: int, effort: str, seed: int) -> dict[str, object]:
    """Return what totals, orders and scenarios cover."""
    panel = world.panel
    days = {"horizon": HORIZON, "cutoffs": cutoffs, "step": STEP}
    split = split_days(panel, validation_days=choose_validation_days(panel, **days), **days)
    with tempfile.TemporaryDirectory() as folder:
        model = make_model(
            panel, Path(folder), effort=effort, horizon=HORIZON, seed=seed, split=split
        )
        weekly = {"cutoffs": (cutoffs - 1) * STEP // 7 + 1, "step": 7}
        origins = evaluation.origin_rows(panel, horizon=HORIZON, **weekly)
        result = evaluation.run_backtest(model, panel, origins)
        totals = evaluation.score_totals(result, model.ranks, panel, days=[7, HORIZON], seed=seed)
        found: dict[str, object] = {
            "days": evaluation.compute_metrics(result)["coverage_80"],
            "totals": totals.round(1).to_dict("records"),
            "persistence": model.ranks.persistence if model.ranks else None,
            "shared": model.ranks.shared if model.ranks else None,
            "orders": measure_orders(world, model, result, origins, seed),
        }
        if world.event:
            found["effect_error"] = model.ranks.effect_error if model.ranks else None
            found["scenarios"] = measure_scenarios(world, model, origins, seed)
    return found


def measure_orders(
    world: World, model: ServedModel, result: evaluation.Backtest, origins: np.ndarray, seed: int
) -> dict[str, object]:
    """Return how often a weekly order lasts for its lead time, in all and by series."""
    panel = world.panel
    sampler = PathSampler(model.ranks, model.contract.quantiles, seed=seed)
    demand = values_at(panel, world.demand, origins, np.arange(1, LEAD_TIME + 1)).sum(axis=1)
    lasted: dict[str, list[bool]] = {}
    for row, quantiles, needed in zip(origins, result.quantiles, demand, strict=True):
        if np.isfinite(needed):
            name = panel.ids[int(panel.series_of(row))]
            paths = sampler.draw(name, quantiles, floor=0.0)[:, :LEAD_TIME].sum(axis=1)
            order = choose_order(paths, service_level=SERVICE_LEVEL)
            lasted.setdefault(name, []).append(bool(needed <= order.available))
    shares = [float(np.mean(each)) for each in lasted.values()]
    count = round(float(np.mean([len(each) for each in lasted.values()])))
    least, most = np.ceil(WITHIN[0] * count) - 1, np.floor(WITHIN[1] * count)
    chance = binom.cdf(most, count, SERVICE_LEVEL) - binom.cdf(least, count, SERVICE_LEVEL)
    return {
        "orders": sum(map(len, lasted.values())),
        "of each": count,
        "lasted": 100 * float(np.mean([x for each in lasted.values() for x in each])),
        "series within 93-97": int(sum(WITHIN[0] <= share <= WITHIN[1] for share in shares)),
        "expected by chance": float(chance * len(shares)),
        "series": len(shares),
        "by series": [round(100 * share, 1) for share in sorted(shares)],
    }


def measure_scenarios(
    world: World, model: ServedModel, origins: np.ndarray, seed: int
) -> dict[str, object]:
    """Return how often the difference that events make is inside its 80 % interval.

    Every special event of the days ahead is taken away, and given back as the scenario.
    """
    panel, steps = world.panel, np.arange(1, HORIZON + 1)
    planned = values_at(panel, panel.event, origins, steps)
    special = np.where(planned > 0.5, planned, 0.0)  # a holiday has 0.5, and is no plan
    sampler = PathSampler(model.ranks, model.contract.quantiles, seed=seed)
    inside, errors = [], []
    for date in np.unique(panel.dates[origins])[:: STEP // 7]:
        at = (panel.dates[origins] == date) & special.any(axis=1)
        rows, strengths = origins[at], special[at]
        event = panel.event.copy()
        event[(rows[:, None] + steps)[strengths > 0]] = 0.0
        before = forecast_panel(model, replace(panel, event=event), rows)
        after = forecast_panel(model, panel, rows)
        for row, strength, base, scenario in zip(rows, strengths, before, after, strict=True):
            name = panel.ids[int(panel.series_of(row))]
            drawn = sampler.draw_scenario(name, base, scenario, floor=0.0)
            difference = (drawn - sampler.draw(name, base, floor=0.0)).sum(axis=1)
            low, middle, high = np.quantile(difference, [0.1, 0.5, 0.9])
            true = _effect_of(strength, world, row)
            inside.append(bool(low <= true <= high))
            errors.append((middle - true) / true)
    return {
        "cases": len(inside),
        "inside": 100 * float(np.mean(inside)),
        "bias": 100 * float(np.mean(errors)),
        "spread": 100 * float(np.std(errors)),
    }


def _effect_of(strength: np.ndarray, world: World, row: int) -> float:
    """Return what the events of a horizon do to its total, by the recipe of synthetic series."""
    share = np.zeros(HORIZON)
    for offset, weight in EVENT_PROFILE.items():
        for day in np.flatnonzero(strength):
            if 0 <= day + offset < HORIZON:
                share[day + offset] += weight * strength[day]
    trend = world.trend[row + 1 : row + 1 + HORIZON]
    return float((world.event * share * trend).sum())


def main() -> int:
    """Measure, print, and write one JSON file a set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=ROOT / "../shared/data", help="folder")
    parser.add_argument("--sets", default="nn5,synthetic-0", help="nn5 or synthetic-SEED")
    parser.add_argument("--effort", default="default", help="instant, default or thorough")
    parser.add_argument("--leave-out", type=int, default=0, help="last days that are cut off")
    parser.add_argument("--seed", type=int, default=0, help="of training and of the paths")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    options = parser.parse_args()
    configure_logging("WARNING")
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.sets.split(","):
        world = read_world(name, options.data, options.leave_out)
        cutoffs = CUTOFFS.get(name, SYNTHETIC)
        found = measure(world, cutoffs=cutoffs, effort=options.effort, seed=options.seed)
        text = json.dumps(found, indent=1) + "\n"
        path = options.out / f"{name}_{options.effort}.json"
        path.write_text(text)
        sys.stdout.write(f"{path.name}\n{text}")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
