"""Learn the effects of covariates from the days up to an origin."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np
from threadpoolctl import threadpool_limits

from lib.data import Panel, forget_covariates_after, take_series
from lib.features.basis_learning import bound_columns, learn_basis
from lib.features.covariate_bases import DATE, Basis, known_covariates
from lib.features.covariate_effects import ADD, LARGEST, MULTIPLY, CovariateEffects
from lib.features.effect_regression import (
    Problem,
    Regression,
    regress,
    regress_in_sample,
)
from lib.features.lasting_effects import measure_lasting
from lib.features.local_deviations import (
    NEAR_DAYS,
    centred_mean,
    deviations,
    inner_days,
    local_columns,
)
from lib.features.series_choice import choose_series
from lib.features.series_differences import let_series_differ
from lib.features.series_traits import SeriesTraits
from lib.features.weekly_grid import WeeklyGrid
from lib.features.year_effects import DAY_OF_YEAR
from lib.features.year_fitting import fit_year_effects

MIN_LOCAL_SHARE = 0.02  # of the variance of a number or column, within a few weeks
ROUNDING = 1e-9  # of columns without unit
SMALLEST_WEIGHT = 1e-6  # below which nothing was found
MIN_DAYS = 56  # observed, to learn effects from
POOL_CELLS = 5_000_000  # rows times columns that the common effects are learned from
BLOCKS = 5  # of days that are held out in turn


def fit_effects(
    panel: Panel,
    until: np.datetime64,
    *,
    dates_from: int = 0,
    only: Collection[str] | None = None,
) -> CovariateEffects | None:
    """Learn what the known-future covariates of a panel do to its series.

    Deviations from the local level and week are regressed on basis functions of the covariates, for
    all series together; from eight on, each may differ from the others. Large panels learn the
    common effects from evenly spaced series.

    A covariate has an effect if days held out say so: without it, the squares of their errors
    would be more by log(n) variances of the noise, n days (Schwarz 1978, "Estimating the dimension
    of a model"). Those that say nothing are left out, and the rest is as if there were none.

    Args:
        panel: N rows.
        until: last day to learn from; nothing after it is used.
        dates_from: observed days from which it is also learned what dates do to a series every
            year, of what the covariates leave; 0 for never.
        only: names of the covariates that have an effect, whatever days held out say.

    Returns:
        The effects, or None where no covariate varies or has one, or with too few days.
    """
    # An event acts days ahead: the last day would know those after it.
    panel = forget_covariates_after(panel, until)
    # Several threads add in another order: the bits would depend on the machine's settings.
    with threadpool_limits(1, user_api="blas"):
        past = panel.dates <= until.astype("datetime64[D]")
        learned = _fit(panel, past, only)
        return _add_dates(learned, panel, past, dates_from) if dates_from else learned


def _fit(panel: Panel, past: np.ndarray, only: Collection[str] | None) -> CovariateEffects | None:
    """Learn from the `past` rows, (N,) bool."""
    if np.isfinite(panel.values[past]).sum() < MIN_DAYS:
        return None
    bases = _learn_bases(panel, past)
    if only is not None:
        bases = tuple(basis for basis in bases if basis.name in only)
    if not bases:
        return None
    effects, noise, pays = _fit_common(panel, bases, past)
    if only is None and not pays.all():
        if not pays.any():
            return None
        bases = tuple(basis for basis, each in zip(bases, pays, strict=True) if each)
        effects, noise, _ = _fit_common(panel, bases, past)
    if np.abs(effects.weights).max() < SMALLEST_WEIGHT:
        return None
    effects = replace(
        effects, lasting=measure_lasting(effects, panel, past, POOL_CELLS / len(bases))
    )
    return let_series_differ(effects, panel, past, noise)


def _fit_common(
    panel: Panel, bases: tuple[Basis, ...], past: np.ndarray
) -> tuple[CovariateEffects, np.ndarray, np.ndarray]:
    """Learn the effects that series have in common, where they multiply and where they add.

    Returns:
        The effects; the variance of the noise, (2,); which covariates days held out speak for,
        (K,) bool.
    """
    traits = SeriesTraits.measure(panel, bases, past)
    columns = sum(len(basis.groups) for basis in bases)
    weights, centres, noise = np.zeros((2, columns)), np.zeros((2, columns)), np.ones(2)
    worth, days = np.zeros(len(bases)), 1
    for mode in (MULTIPLY, ADD):
        series = np.flatnonzero(traits.additive == bool(mode))
        pool = choose_series(panel, series, POOL_CELLS / columns)
        if len(pool):
            found, centres[mode], used = _fit_pool(
                panel, pool, bases, traits, past, additive=bool(mode)
            )
            weights[mode], noise[mode] = found.weights, found.noise
            worth, days = worth + found.worth, days + used
    effects = CovariateEffects(bases, weights, centres, panel.ids, traits, np.ones(len(bases)))
    return effects, noise, worth > np.log(days)


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
    return bound_columns(found, panel, past)


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
) -> tuple[Regression, np.ndarray, int]:
    """Return the regression of some series, the centres of its columns (p,), and its days."""
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
    # Of the days on which something varies: those of a series without covariates tell nothing.
    varies = (np.abs(local) > ROUNDING).any(axis=-1)
    block = _blocks(np.where(varies, grid.gather(panel.dates.astype(np.int64)), np.nan))

    def problem_of(found: np.ndarray) -> Problem:
        used = np.isfinite(found) & varies
        return Problem(local[used], found[used], groups, owners, block[used], additive)

    problem = problem_of(deviations(values, additive))
    if not len(problem.deviations):  # nothing that the week does not tell already
        return Regression(np.zeros(len(centres)), 1.0, np.zeros(len(bases))), centres, 0
    # Level and week are measured again without the effects that were found first.
    first = regress_in_sample(problem)
    effect: np.ndarray = np.clip(np.nan_to_num(centred @ first), -LARGEST, LARGEST)
    without = values - units * effect if additive else values * np.exp(-effect)
    back = np.clip(local @ first, -LARGEST, LARGEST)
    found = deviations(without, additive)
    problem = problem_of(found + back if additive else found * np.exp(back))
    return regress(problem), centres, len(problem.deviations)


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


def _number_groups(bases: tuple[Basis, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return the number of the group and of the covariate of each column. Two (p,)."""
    names = [group for basis in bases for group in basis.groups]
    order = {name: i for i, name in enumerate(dict.fromkeys(names))}
    owners = [k for k, basis in enumerate(bases) for _ in basis.groups]
    return np.array([order[name] for name in names]), np.array(owners)


def _blocks(days: np.ndarray) -> np.ndarray:
    """Return the number of the block of consecutive days that each day is in, the same shape."""
    if not np.isfinite(days).any():
        return np.zeros(days.shape, dtype=np.int64)
    first, last = np.nanmin(days), np.nanmax(days)
    return np.nan_to_num((days - first) * BLOCKS // (last - first + 1)).astype(np.int64)
