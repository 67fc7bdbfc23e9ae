"""Collect the ranks of the truth from past forecasts of a model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lib.data import MIN_HISTORY_DAYS, Panel
from lib.features import values_at
from lib.inference.artifact import PRETRAINED_ARTIFACT, PRETRAINED_GRAPH
from lib.inference.ranks import CODES, Ranks, normal_scores, score_actuals
from lib.inference.served_model import ServedModel, forecast_panel

MAX_WINDOWS = 8_000  # forecasts that ranks are collected from, which bounds seconds
MAX_INSTANT_WINDOWS = 2_000  # the same without training, where a second counts
MAX_DATES = 300
MANY_DATES = 60  # rather than more series: those that are left out take the ranks of others
MAX_BYTES = 5_000_000  # of the ranks, before compression
MIN_ORIGINS = 5  # below which there are no ranks
FEWEST = 1.5  # independent forecasts of a series, where there are fewer
BLOCKS = 5  # independent forecasts that those of the pretrained network count for, at most


def collect_ranks(
    model: ServedModel, panel: Panel, origins: np.ndarray, earlier: np.ndarray | None = None
) -> Ranks | None:
    """Forecast from past origins and keep where the truth fell.

    A validation of three months has three independent forecasts of a month: too few to tell how
    errors last and how far series err together. The pretrained network has learned no day of the
    series, so its forecasts of the days before are honest as well, and are as many as the history
    is long. They count for at most BLOCKS independent forecasts.

    Args:
        model: that forecasts.
        panel: the series.
        origins: (n,) rows that training has not seen the days after. Their series and dates are
            used, whole dates at a time: as many as the constants above allow, evenly spaced.
        earlier: (m,) rows of whose dates, those before the `origins`, the pretrained network
            forecasts.

    Returns:
        None where fewer than MIN_ORIGINS dates have a known truth.
    """
    horizon = model.contract.horizon
    numbers, dates = np.unique(panel.series_of(origins)), np.unique(panel.dates[origins])
    before = np.unique(panel.dates[earlier]) if earlier is not None else dates[:0]
    before = before[before < dates[0]] if len(dates) else before
    if not len(dates) or len(before) + len(dates) < MIN_ORIGINS:
        return None
    panel = _forget_after(panel, dates[-1] + horizon)
    windows = min(MAX_WINDOWS, MAX_BYTES // horizon)
    if PRETRAINED_GRAPH in model.contract.settings:
        before, dates = before[:0], np.append(before, dates)
        windows = min(windows, MAX_INSTANT_WINDOWS)
    untrained = _untrained(model) if len(before) else model
    if untrained.contract.quantiles != model.contract.quantiles:
        before = before[:0]
    numbers = _evenly(numbers, windows // min(len(before) + len(dates), MANY_DATES))
    most = min(max(windows // len(numbers), MIN_ORIGINS), MAX_DATES)
    before, dates = _share_out(before, dates, horizon, most)
    scores = _score_past(model, panel, numbers, dates)
    if len(before):
        scores = np.concatenate([_score_past(untrained, panel, numbers, before), scores])
        dates = np.append(before, dates)
    complete = np.asarray(np.isfinite(scores).all(axis=2))  # (dates, series)
    known = np.flatnonzero(complete.sum(axis=0) >= MIN_ORIGINS)
    whole = np.flatnonzero(complete[:, known].any(axis=1))
    if len(whole) < MIN_ORIGINS:
        return None
    numbers, chosen = numbers[known], np.ix_(whole, known)
    scores = _fill_series(scores[chosen], complete[chosen])
    ranked = _rank(scores)
    persistence, shared = _measure_shift(scores, ranked, _independent(dates[whole], horizon))
    codes = np.clip(np.rint(ranked * CODES), -127, 127).astype(np.int8)
    ids = tuple(panel.ids[s] for s in numbers)
    return Ranks(ids, codes, persistence, shared)


def _share_out(
    before: np.ndarray, dates: np.ndarray, horizon: int, most: int
) -> tuple[np.ndarray, np.ndarray]:
    """Choose dates of the pretrained network and of the model, at most `most` of both."""
    if not len(before):
        return before, _evenly(dates, most)
    independent = _independent(dates, horizon)
    share = independent / (independent + BLOCKS)
    total = min(most, int(len(dates) / share))
    before = _evenly(before, total - min(len(dates), int(np.ceil(share * total))))
    return before, _evenly(dates, total - len(before))


def _independent(dates: np.ndarray, horizon: int) -> float:
    """Return how many independent forecasts of a series the dates hold.

    Windows overlap: a horizon counts for half a forecast, a rule of thumb as in calibration.
    """
    return (1 + float((dates[-1] - dates[0]).astype(np.int64)) / horizon) / 2


def _untrained(model: ServedModel) -> ServedModel:
    """Return the pretrained network in the place of a model, with its effects of covariates."""
    pretrained = ServedModel.load(PRETRAINED_ARTIFACT)
    return pretrained.replace(
        contract=replace(pretrained.contract, horizon=model.contract.horizon),
        covariates=model.covariates,
        past=model.past,
        cold_start=model.cold_start,
    )


def _forget_after(panel: Panel, last: np.datetime64) -> Panel:
    """Return the panel with nothing known of the days after `last`, planned ones included."""
    past = panel.dates <= last
    values, factor, event = (
        np.where(past, column, np.nan) for column in (panel.values, panel.factor, panel.event)
    )
    covariates = tuple(
        replace(c, values=np.where(past, c.values, np.nan)) for c in panel.covariates
    )
    return replace(panel, values=values, factor=factor, event=event, covariates=covariates)


def _evenly(items: np.ndarray, most: int) -> np.ndarray:
    """Return at most `most` items, evenly spaced, the last among them."""
    if len(items) <= most:
        return items
    return items[np.linspace(0, len(items) - 1, max(most, 1)).astype(int)]


def _score_past(
    model: ServedModel, panel: Panel, numbers: np.ndarray, dates: np.ndarray
) -> np.ndarray:
    """Return the scores of all dates and series (dates, series, horizon), NaN where unknown."""
    horizon, levels = model.contract.horizon, model.contract.quantiles
    first = panel.offsets[numbers]
    rows = first + (dates[:, None] - panel.dates[first]).astype(np.int64)
    usable = (rows - first >= MIN_HISTORY_DAYS - 1) & (rows <= panel.offsets[numbers + 1] - 1)
    scores = np.full((*rows.shape, horizon), np.nan)
    quantiles = forecast_panel(model, panel, rows[usable])
    actual = values_at(panel, panel.values, rows[usable], np.arange(1, horizon + 1))
    actual[~np.isfinite(quantiles).all(axis=(1, 2))] = np.nan
    scores[usable] = score_actuals(quantiles, actual, levels, np.random.default_rng(0))
    return _fill_days(np.clip(scores, -127 / CODES, 127 / CODES))


def _fill_days(scores: np.ndarray) -> np.ndarray:
    """Give missing days the score of the nearest known day of their path.

    Paths with fewer than half of their days stay incomplete.
    """
    known = np.isfinite(scores)
    enough = 2 * known.sum(axis=2) >= scores.shape[2]
    for o, s in zip(*np.nonzero(enough & ~known.all(axis=2)), strict=True):
        days = np.flatnonzero(known[o, s])
        distance = np.abs(np.arange(scores.shape[2])[:, None] - days)
        scores[o, s] = scores[o, s, days[distance.argmin(axis=1)]]
    return scores


def _fill_series(scores: np.ndarray, complete: np.ndarray) -> np.ndarray:
    """Give an incomplete path that of another series at the same origin, chosen at random."""
    rng = np.random.default_rng(0)
    for o, s in zip(*np.nonzero(~complete), strict=True):
        scores[o, s] = scores[o, rng.choice(np.flatnonzero(complete[o]))]
    return scores


def _rank(scores: np.ndarray) -> np.ndarray:
    """Return the normal scores of the ranks over the origins, for each series and day."""
    count = len(scores)
    order = scores.argsort(axis=0, kind="stable").argsort(axis=0, kind="stable")
    return normal_scores((np.arange(count) + 0.5) / count)[order]


def _measure_shift(
    scores: np.ndarray, ranked: np.ndarray, independent: float
) -> tuple[float, float]:
    """Return how much of the variance is a shift of whole paths, and how much of it is common.

    A sum of the days of a path has a mean square around zero in the scores as they fell. In the
    ranked ones it is smaller, because each series and day then has mean zero over the origins. The
    shift makes up for the difference, in the paths of series and in the sum of all series.

    Args:
        scores: (origins, series, horizon), as they fell.
        ranked: the same, ranked over the origins.
        independent: number of independent forecasts of a series.

    Returns:
        Two shares, 0 to 1.
    """
    count, horizon = scores.shape[1:]
    unit = float(np.mean(scores**2))
    if unit == 0 or horizon == 1:
        return 0.0, 0.0
    kept = float(np.mean(ranked.sum(axis=2) ** 2))
    fell = float(np.mean(scores.sum(axis=2) ** 2)) / unit
    fell = _expect_square(fell, independent * count)
    each = float(np.clip((fell - kept) / (horizon**2 - kept), 0, 0.95))
    if count == 1:
        return each, 0.0
    kept = float(np.mean(ranked.mean(axis=(1, 2)) ** 2))
    fell = float(np.mean(scores.mean(axis=(1, 2)) ** 2)) / unit
    fell = _expect_square(fell, independent)
    common = (fell - (1 - each) * kept - each / count) / (1 - 1 / count)
    if common > each:  # the sum of all series needs a larger shift than the series do
        return float(np.clip((fell - kept) / (1 - kept), 0, 0.95)), 1.0
    return each, max(common, 0.0) / each if each else 0.0


def _expect_square(fell: float, independent: float) -> float:
    """Return the mean square to expect of errors, given that of a few.

    A mean of k squares is uncertain itself: the interval is then that of Student's t with k
    degrees of freedom, which is about as wide as if the mean square were 1 + 2/k times as large.
    """
    return fell * (1 + 2 / max(independent, FEWEST))
