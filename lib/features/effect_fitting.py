"""Learn the effects of covariates from the days up to an origin."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from threadpoolctl import threadpool_limits

from lib.data import Panel, forget_covariates_after, take_series
from lib.features.basis_learning import learn_basis
from lib.features.covariate_bases import DATE, Basis, known_covariates
from lib.features.covariate_effects import ADD, LARGEST, MULTIPLY, CovariateEffects
from lib.features.effect_regression import Problem, regress, regress_by_series
from lib.features.lasting_effects import measure_lasting
from lib.features.local_deviations import (
    NEAR_DAYS,
    centred_mean,
    deviations,
    inner_days,
    local_columns,
)
from lib.features.series_choice import choose_series
from lib.features.series_traits import SeriesTraits
from lib.features.weekly_grid import WeeklyGrid
from lib.features.year_effects import DAY_OF_YEAR
from lib.features.year_fitting import fit_year_effects

MIN_LOCAL_SHARE = 0.02  # of the variance of a number or column, within a few weeks
SMALLEST_WEIGHT = 1e-6  # below which nothing was found
PASSES = 2  # level and week are measured again without the effects found first
MIN_DAYS = 56  # observed, to learn effects from
POOL_CELLS = 5_000_000  # rows times columns that the common effects are learned from
CHUNK_CELLS = 4_000_000
MIN_SERIES = 8  # from which series may differ
BLOCKS = 5  # of days that are held out in turn


def fit_effects(
    panel: Panel, until: np.datetime64, *, dates_from: int = 0
) -> CovariateEffects | None:
    """Learn what the known-future covariates of a panel do to its series.

    Deviations from the local level and week are regressed on basis functions of the covariates, for
    all series together; from MIN_SERIES on each may differ from the others. Large panels learn the
    common effects from evenly spaced series.

    Args:
        panel: N rows.
        until: last day to learn from; nothing after it is used.
        dates_from: observed days from which it is also learned what dates do to a series every
            year, of what the covariates leave; 0 for never.

    Returns:
        The effects, or None where no covariate varies or has one, or with too few days.
    """
    # An event acts days ahead: the last day would know those after it.
    panel = forget_covariates_after(panel, until)
    # Several threads add in another order: the bits would depend on the machine's settings.
    with threadpool_limits(1, user_api="blas"):
        past = panel.dates <= until.astype("datetime64[D]")
        learned = _fit(panel, past)
        return _add_dates(learned, panel, past, dates_from) if dates_from else learned


def _fit(panel: Panel, past: np.ndarray) -> CovariateEffects | None:
    """Learn from the `past` rows, (N,) bool."""
    if np.isfinite(panel.values[past]).sum() < MIN_DAYS:
        return None
    bases = _learn_bases(panel, past)
    if not bases:
        return None
    traits = SeriesTraits.measure(panel, bases, past)
    columns = sum(len(basis.groups) for basis in bases)
    weights, centres = np.zeros((2, columns)), np.zeros((2, columns))
    noise, lasting = np.ones(2), np.ones(len(bases))
    for mode in (MULTIPLY, ADD):
        series = np.flatnonzero(traits.additive == bool(mode))
        pool = choose_series(panel, series, POOL_CELLS / columns)
        if len(pool):
            weights[mode], centres[mode], noise[mode] = _fit_pool(
                panel, pool, bases, traits, past, additive=bool(mode)
            )
    if np.abs(weights).max() < SMALLEST_WEIGHT:
        return None
    effects = CovariateEffects(bases, weights, centres, panel.ids, traits, lasting)
    effects = replace(
        effects, lasting=measure_lasting(effects, panel, past, POOL_CELLS / len(bases))
    )
    return _let_series_differ(effects, panel, past, noise)


def _add_dates(
    learned: CovariateEffects | None, panel: Panel, past: np.ndarray, least_days: int
) -> CovariateEffects | None:
    """Return the effects with those of dates, which are learned from what the others leave."""
    if learned is None:
        nothing = np.zeros((2, 0))
        traits = SeriesTraits.measure(panel, (), past)
        effects = CovariateEffects((), nothing, nothing, panel.ids, traits, np.zeros(0))
    else:
        effects = learned
        panel = learned.apply(panel).remove(np.full(len(learned.bases), True))
    year = fit_year_effects(panel, past, ~effects.traits.additive, least_days)
    if year is None or DAY_OF_YEAR in effects.names:
        return learned
    traits = effects.traits
    one = np.ones((len(panel.ids), 1))
    return replace(
        effects,
        bases=(*effects.bases, Basis(DAY_OF_YEAR, DATE)),
        traits=replace(
            traits,
            references=np.append(traits.references, np.nan * one, axis=1),
            gains=np.append(traits.gains, one, axis=1),
            slopes=np.append(traits.slopes, 0 * one, axis=1),
        ),
        lasting=np.append(effects.lasting, 1.0),
        year=year,
    )


def _learn_bases(panel: Panel, past: np.ndarray) -> tuple[Basis, ...]:
    """Return the bases of the covariates that can be learned from."""
    found = []
    series = choose_series(panel, np.arange(panel.n_series), POOL_CELLS)
    some, some_past = take_series(panel, series), past[panel.rows_of(series)]
    in_some = known_covariates(some)
    for name, covariate in known_covariates(panel).items():
        basis = learn_basis(panel, covariate, past)
        slow = (
            covariate.kind == "number"
            and name in in_some
            and _local_share(some, in_some[name].values, some_past) < MIN_LOCAL_SHARE
        )
        if basis is not None and not slow:
            found.append(basis)
    return tuple(found)


def _local_share(panel: Panel, values: np.ndarray, past: np.ndarray) -> float:
    """Return the share of the variance within series that lies within a few weeks.

    What only rises, or follows the year, says nothing about days that differ from those around
    them.
    """
    grid = WeeklyGrid.of(panel, np.arange(panel.n_series), past)
    gathered = grid.gather(values)
    inner = np.isfinite(gathered) & inner_days(grid)
    if not inner.any():
        return 1.0
    local = (gathered - centred_mean(gathered, NEAR_DAYS))[inner]
    count = np.maximum(np.isfinite(gathered).sum(axis=1, keepdims=True), 1)
    whole = gathered - np.nansum(gathered, axis=1, keepdims=True) / count
    variance = float(np.nanmean(whole**2))
    return float(np.nanmean(local**2)) / variance if variance > 0 else 0.0


def _fit_pool(
    panel: Panel,
    series: np.ndarray,
    bases: tuple[Basis, ...],
    traits: SeriesTraits,
    past: np.ndarray,
    *,
    additive: bool,
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return the common weights (p,), the centres of the columns (p,) and the noise."""
    past = past[panel.rows_of(series)]
    panel = take_series(panel, series)
    covariates = known_covariates(panel)
    columns = np.concatenate(
        [
            basis.columns(panel, covariates[basis.name], traits.references[series, k])[0]
            if basis.name in covariates
            else np.zeros((len(panel.values), len(basis.groups)))
            for k, basis in enumerate(bases)
        ],
        axis=1,
    )
    centres = columns[past].mean(axis=0)
    grid = WeeklyGrid.of(panel, np.arange(panel.n_series), past)
    centred = grid.gather(columns - centres)
    local = local_columns(centred)
    local = np.where(_vary_locally(local, centred), local, 0.0)
    values, units = grid.gather(panel.values), traits.units[series][:, None]
    groups, owners = _number_groups(bases)
    block = _blocks(grid.gather(panel.dates.astype(np.int64)))
    weights, noise = np.zeros(len(centres)), 1.0
    for number in range(PASSES):
        effect = np.clip(np.nan_to_num(centred @ weights), -LARGEST, LARGEST)
        without = values - units * effect if additive else values * np.exp(-effect)
        found = deviations(without, additive)
        if number:
            back = np.clip(local @ weights, -LARGEST, LARGEST)
            found = found + back if additive else found * np.exp(back)
        used = np.isfinite(found)
        problem = Problem(local[used], found[used], groups, owners, block[used], additive)
        weights, noise = regress(problem, held_out=number == PASSES - 1)
    return weights, centres, noise


def _vary_locally(local: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Tell which columns differ from level and week. (p,) bool.

    A weekend does not: what is left of it, at the ends of a series, would have any effect at all.

    Args:
        local: (S, T, p), 0 where unused.
        columns: (S, T, p) that they were made of, NaN where unused.
    """
    used = np.isfinite(columns).all(axis=-1)
    variances = (columns[used].var(axis=0), local[used].var(axis=0))
    return variances[1] > MIN_LOCAL_SHARE * variances[0]


def _let_series_differ(
    effects: CovariateEffects, panel: Panel, past: np.ndarray, noise: np.ndarray
) -> CovariateEffects:
    """Return the effects with gains and slopes of each series, where there are enough of them."""
    traits = effects.traits
    gains, slopes = traits.gains.copy(), traits.slopes.copy()
    count = len(effects.bases)
    linear = np.array([basis.kind in ("number", "event") for basis in effects.bases])
    for mode in (MULTIPLY, ADD):
        series = np.flatnonzero(traits.additive == bool(mode))
        if len(series) < MIN_SERIES:
            continue
        parts = [
            _series_problem(effects, panel, chunk, past, linear, additive=bool(mode))
            for chunk in _chunks(panel, series, 4 * count)
        ]
        gram, moment = (np.concatenate([part[i] for part in parts]) for i in range(2))
        differs = regress_by_series(gram, moment, float(noise[mode]))
        gains[series] += differs[:, :count]
        slopes[np.ix_(series, np.flatnonzero(linear))] = differs[:, count:]
    return replace(effects, traits=replace(traits, gains=gains, slopes=slopes))


def _series_problem(
    effects: CovariateEffects,
    panel: Panel,
    series: np.ndarray,
    past: np.ndarray,
    linear: np.ndarray,
    *,
    additive: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the normal equations of what each series adds to the common effects.

    Returns:
        (S, q, q) and (S, q): the effects of all covariates, then the linear columns of some.
    """
    past = past[panel.rows_of(series)]
    panel = take_series(panel, series)
    applied = effects.apply(panel)
    columns = [*applied.effects, *(applied.linear[linear])]
    grid = WeeklyGrid.of(panel, np.arange(panel.n_series), past)
    without = applied.remove(np.full(len(effects.bases), True))
    found = deviations(grid.gather(without.values), additive)
    local = local_columns(grid.gather(np.stack(columns, axis=1)))
    used = np.isfinite(found)
    effect = np.clip(local[..., : len(effects.bases)].sum(axis=-1), -LARGEST, LARGEST)
    importance = np.where(used, 1.0 if additive else np.exp(effect), 0.0)
    residuals = np.where(used, found - 1, 0.0)
    weighted = local * importance[..., None]
    return (
        np.einsum("stp,stq->spq", weighted, local, optimize=True),
        np.einsum("stp,st->sp", weighted, residuals),
    )


def _chunks(panel: Panel, series: np.ndarray, columns: int) -> list[np.ndarray]:
    """Divide series into parts of about CHUNK_CELLS cells."""
    cells = np.diff(panel.offsets)[series].sum() * columns
    return np.array_split(series, max(1, int(np.ceil(cells / CHUNK_CELLS))))


def _number_groups(bases: tuple[Basis, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return the number of the group and of the covariate of each column. Two (p,)."""
    names = [group for basis in bases for group in basis.groups]
    order = {name: i for i, name in enumerate(dict.fromkeys(names))}
    owners = [k for k, basis in enumerate(bases) for _ in basis.groups]
    return np.array([order[name] for name in names]), np.array(owners)


def _blocks(days: np.ndarray) -> np.ndarray:
    """Return the number of the block of consecutive days that each day is in, the same shape."""
    first, last = np.nanmin(days), np.nanmax(days)
    return np.nan_to_num((days - first) * BLOCKS // (last - first + 1)).astype(np.int64)
