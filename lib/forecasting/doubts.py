"""Doubts about a forecast: what the values of a series say of how far to believe it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import pandas as pd

MAX_NAMES = 5  # series in a note
FEW_DAYS = 60  # values of a series, below which it rests on others
SPARSE = 0.5  # share of days without demand
RARE = 0.9  # share of days without demand, above which quantiles may miss what there is
LAST_DAYS = 365  # by which demand is compared
RISING = 0.5  # share of days on which a running total rises
OUTLYING = 10  # times the next largest value
RECENT_DAYS = 56  # whose variation the model takes as its scale
FLAT, ROUNDING = 1e-3, 1e-9  # shares of the level that the model does not see, and that none has


def describe_doubts(history: pd.DataFrame, forecast: pd.DataFrame) -> list[str]:
    """Return notes on series that are hard to forecast by what their values are like.

    Args:
        history: canonical.
        forecast: as `Forecaster.predict` returns it.
    """
    known = history[history["series_id"].isin(forecast["series_id"].unique())]
    known = known.dropna(subset="value")
    return [
        *_describe_little(known),
        *_describe_sparse(known),
        *_describe_rare(known, forecast),
        *_describe_running_totals(known),
        *_describe_outliers(known),
        *_describe_flat(known),
    ]


def _describe_little(history: pd.DataFrame) -> list[str]:
    """Return a note on the series of which little is known."""
    known = history.groupby("series_id", sort=False)["value"].count()
    few = known[known < FEW_DAYS]
    if few.empty:
        return []
    shown = _list_shares({name: f"{count}" for name, count in few.items()})
    return [
        f"little is known of {shown}: fewer than {FEW_DAYS} values, so these forecasts rest "
        "on what other series teach, and their intervals are rough"
    ]


def _describe_sparse(history: pd.DataFrame) -> list[str]:
    """Return a note on series with no demand on most days."""
    values = history.groupby("series_id", sort=False)["value"]
    zeros = _share_of_zeros(history)
    sparse = zeros[(zeros > SPARSE) & (values.max() > 0) & (values.min() >= 0)]
    if sparse.empty:
        return []
    shown = _list_shares({name: f"{100 * share:.0f} %" for name, share in sparse.items()})
    return [
        f"sparse demand, with 0 on most days: {shown}. The median of such a day says little; "
        "use `mean`, or totals over weeks (TOTALS=7,28)"
    ]


def _describe_rare(history: pd.DataFrame, forecast: pd.DataFrame) -> list[str]:
    """Return a note on series whose demand is so rare that even the mean falls short of it."""
    values = history.groupby("series_id", sort=False)["value"]
    last = history.groupby("series_id", sort=False).tail(LAST_DAYS)
    seen = last.groupby("series_id", sort=False)["value"].mean()
    zeros = _share_of_zeros(last)
    expected = forecast.groupby("series_id", sort=False)["mean"].mean().reindex(seen.index)
    rare = seen[(zeros > RARE) & (values.min() >= 0) & (expected < seen / 2)]
    if rare.empty:
        return []
    return [
        f"demand on fewer than one day in {round(1 / (1 - RARE))}, which quantiles do not see: "
        f"{_list_shares({name: f'{mean:.3g} a day' for name, mean in rare.items()})} in the last "
        "year, more than twice the mean of the forecast. Plan by what was seen"
    ]


def _describe_running_totals(history: pd.DataFrame) -> list[str]:
    """Return a note on series that rise on most days and never fall."""
    change = history.groupby("series_id", sort=False)["value"].diff()
    steps = history.assign(rises=change > 0, falls=change < 0).groupby("series_id", sort=False)
    count, share = steps["value"].count(), steps["rises"].mean()
    totals = count[(count >= FEW_DAYS) & (share > RISING) & ~steps["falls"].any()]
    if totals.empty:
        return []
    shown = _list_shares({name: f"{count} values" for name, count in totals.items()})
    return [
        f"values that never fall, as of a meter or a running total: {shown}. Forecast what is "
        "added each day instead (`diff` in pandas), and add it up"
    ]


def _describe_outliers(history: pd.DataFrame) -> list[str]:
    """Return a note on series with one value that is far above all others of the last year."""
    last = history.groupby("series_id", sort=False).tail(LAST_DAYS)
    sizes = last.assign(size=last["value"].abs()).query("size > 0")
    sizes = sizes.sort_values("size", kind="stable").groupby("series_id", sort=False)
    count, (largest, next_one) = sizes["size"].count(), (sizes.nth(-1), sizes.nth(-2))
    table = largest.set_index("series_id").join(
        next_one.set_index("series_id")["size"].rename("next")
    )
    far = table[(count.reindex(table.index) >= FEW_DAYS) & (table["size"] > OUTLYING * table.next)]
    if far.empty:
        return []
    facts = {
        row.Index: f"{row.value:g} on {row.date:%Y-%m-%d}, the next is {row.next:g}"
        for row in far.itertuples()
    }
    return [
        f"one value is far above all others of the last year: {_list_shares(facts)}. It raises "
        "the mean and the upper quantiles; leave it blank if it is an error"
    ]


def _describe_flat(history: pd.DataFrame) -> list[str]:
    """Return a note on series that vary more finely than a network sees."""
    last = history.groupby("series_id", sort=False).tail(RECENT_DAYS)
    values = last.groupby("series_id", sort=False)["value"]
    center = values.transform("mean")
    spread = (last["value"] - center).abs().groupby(last["series_id"], sort=False).mean()
    level = values.mean().abs()
    flat = spread[(spread > ROUNDING * level) & (spread < FLAT * level)]
    if flat.empty:
        return []
    shown = _list_shares({name: f"by {size:.3g}" for name, size in flat.items()})
    return [
        f"values that vary by less than a thousandth of their level: {shown}. The model does not "
        "see that; subtract a constant from them, and add it to the forecast"
    ]


def _share_of_zeros(history: pd.DataFrame) -> pd.Series:
    """Return the share of the values of each series that are 0."""
    return (history["value"] == 0).groupby(history["series_id"], sort=False).mean()


def _list_shares(facts: Mapping[Hashable, str]) -> str:
    """Return the first names with a fact behind each, for a sentence."""
    shown = [f"{name!r} ({fact})" for name, fact in facts.items()][:MAX_NAMES]
    more = f" and {len(facts) - MAX_NAMES} others" if len(facts) > MAX_NAMES else ""
    return ", ".join(shown) + more
