"""The eleven features, the windows and the known future, each against a loop written plainly."""

import math
from datetime import date

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from lib.features import engineering
from lib.features.window_index import index_windows
from lib.features.windows import gather_context, known_future, values_at
from tests import window_values
from tests.panels import SEED_SERIES, panel_of

NAN = math.nan
COLUMN = {name: i for i, name in enumerate(engineering.FEATURES)}
FUTURE_COLUMN = {name: i for i, name in enumerate(engineering.FUTURE)}

numbers = st.floats(-1e6, 1e6, allow_nan=False)
series = st.lists(st.one_of(numbers, st.just(NAN)), min_size=1, max_size=60).map(np.array)
quick = hypothesis_settings(max_examples=40, deadline=None)


@pytest.fixture(scope="module")
def uneven():
    """Three series of 420, 3 and 95 days, with gaps at the borders."""
    rng = np.random.default_rng(5)
    columns = [rng.normal(50, 9, n) for n in (420, 3, 95)]
    columns[0][rng.random(420) < 0.2] = NAN
    columns[0][-4:] = NAN
    columns[2][:2] = NAN
    columns[2][40:80] = NAN
    factor = [rng.normal(0, 1, n) for n in (420, 3, 95)]
    event = [rng.random(n).round() for n in (420, 3, 95)]
    factor[2][5] = NAN
    return panel_of(*columns, factor=factor, event=event)


def series_of(panel, row):
    """(first row, last row) of the series of a row, by looking."""
    for s in range(panel.n_series):
        rows = panel.series(s)
        if rows.start <= row < rows.stop:
            return rows.start, rows.stop - 1
    raise AssertionError(row)


def observed(panel, row, days):
    """The values seen on the last `days` days of the series up to a row."""
    first, _ = series_of(panel, row)
    seen = [panel.values[r] for r in range(max(first, row - days + 1), row + 1)]
    return [value for value in seen if not math.isnan(value)]


def value_at(panel, column, row, step):
    """A column `step` days after a row, NaN outside its series."""
    first, last = series_of(panel, row)
    return column[row + step] if first <= row + step <= last else NAN


def calendar_by_hand(day):
    day = date.fromisoformat(str(day))
    weekday, month = day.weekday(), day.month
    angles = (2 * math.pi * weekday / 7, 2 * math.pi * month / 12)
    angles += (2 * math.pi * (day.timetuple().tm_yday - 1) / 365.25,)
    return [f(angle) for angle in angles for f in (math.sin, math.cos)]


def features_by_hand(panel, row):
    """The eleven features of one row, from the sentences that define them."""
    missing = math.isnan(panel.values[row])
    last_7, last_30 = observed(panel, row, 7), observed(panel, row, 30)
    mean = sum(last_7) / len(last_7) if last_7 else NAN
    std = NAN
    if len(last_7) > 1:
        std = math.sqrt(sum((v - mean) ** 2 for v in last_7) / (len(last_7) - 1))
    return [
        *calendar_by_hand(panel.dates[row])[:4],
        NAN if missing else mean,
        NAN if missing else sum(last_30) / len(last_30),
        NAN if missing else std,
        value_at(panel, panel.values, row, -1),
        value_at(panel, panel.values, row, -7),
        panel.factor[row],
        panel.event[row],
    ]


def future_by_hand(panel, end, step, *, known):
    """One row of the known future: `step` days after row `end`."""
    week = [value_at(panel, panel.values, end, step - 364 + d) for d in range(-3, 4)]
    month = [value_at(panel, panel.values, end, -364 - d) for d in range(28)]
    means = []
    for some in (week, month):
        seen = [value for value in some if not math.isnan(value)]
        means.append(sum(seen) / len(seen) if seen else NAN)
    return [
        *calendar_by_hand(panel.dates[end] + step),
        value_at(panel, panel.factor, end, step) if known else NAN,
        value_at(panel, panel.event, end, step) if known else NAN,
        week[3],
        *means,
    ]


def test_features_equal_a_loop_over_days_also_across_series_borders(uneven):
    expected = [features_by_hand(uneven, row) for row in range(len(uneven.values))]
    np.testing.assert_allclose(
        engineering.compute_features(uneven), expected, rtol=1e-12, atol=1e-12
    )


def test_features_of_many_series_equal_each_alone(uneven):
    together = engineering.compute_features(uneven)
    for s in range(uneven.n_series):
        rows = uneven.series(s)
        alone = panel_of(uneven.values[rows], factor=[uneven.factor[rows]])
        columns = slice(0, COLUMN["evento_especial"])
        np.testing.assert_array_equal(
            together[rows, columns], engineering.compute_features(alone)[:, columns]
        )


def test_features_equal_the_reference_file_to_a_billionth():
    if not SEED_SERIES.exists():
        pytest.skip(f"{SEED_SERIES.name} is not beside the project")
    table = pd.read_csv(SEED_SERIES)
    panel = panel_of(
        table["valor_principal"].to_numpy(),
        factor=[table["fator_externo"].to_numpy()],
        event=[table["evento_especial"].to_numpy()],
        first="2020-01-01",
    )
    found, expected = (
        engineering.compute_features(panel),
        table[list(engineering.FEATURES)].to_numpy(np.float64),
    )
    both = np.isfinite(found) & np.isfinite(expected)
    assert both.sum() > 0.98 * (~np.isnan(expected)).sum()
    only_theirs = np.isfinite(expected) & ~np.isfinite(found)
    assert not only_theirs[np.isfinite(panel.values)].any()
    np.testing.assert_allclose(found[both], expected[both], rtol=0, atol=1e-9)


@pytest.mark.parametrize("first", ["2020-02-25", "1969-12-28", "1999-12-28", "2100-02-25"])
def test_calendar_equals_the_standard_library_over_leap_days_and_new_years(first):
    days = np.datetime64(first, "D") + np.arange(12)
    expected = [calendar_by_hand(day) for day in days]
    np.testing.assert_allclose(engineering.calendar_features(days), expected, atol=1e-12)


def test_calendar_keeps_the_shape_of_its_days():
    assert engineering.calendar_features(np.full((2, 3), np.datetime64("2024-01-01"))).shape == (
        2,
        3,
        6,
    )


@quick
@given(series)
def test_lags_are_the_series_shifted(values):
    found = engineering.compute_features(panel_of(values))
    for days in (1, 7):
        lag = found[:, COLUMN[f"lag_{days}"]]
        assert np.isnan(lag[:days]).all()
        np.testing.assert_array_equal(lag[days:], values[:-days])


@quick
@given(series)
def test_rolling_means_lie_between_the_extremes_of_their_days(values):
    panel = panel_of(values)
    found = engineering.compute_features(panel)
    for days in (7, 30):
        for row in np.flatnonzero(np.isfinite(values)):
            seen = observed(panel, row, days)
            mean = found[row, COLUMN[f"media_movel_{days}"]]
            slack = 1e-9 * max(1.0, max(map(abs, seen)))
            assert min(seen) - slack <= mean <= max(seen) + slack


@quick
@given(series)
def test_rolling_statistics_are_missing_exactly_where_stated(values):
    panel = panel_of(values)
    found = engineering.compute_features(panel)
    missing = np.isnan(values)
    for name in ("media_movel_7", "media_movel_30"):
        np.testing.assert_array_equal(np.isnan(found[:, COLUMN[name]]), missing)
    few = [len(observed(panel, row, 7)) < 2 for row in range(len(values))]
    std = found[:, COLUMN["desvio_movel_7"]]
    np.testing.assert_array_equal(np.isnan(std), missing | few)
    assert (std[~np.isnan(std)] >= 0).all()


@quick
@given(series, st.integers(-1000, 1000))
def test_a_shift_of_the_series_moves_means_and_lags_and_leaves_the_deviation(values, shift):
    before, after = (
        engineering.compute_features(panel_of(values)),
        engineering.compute_features(panel_of(values + shift)),
    )
    for name in ("media_movel_7", "media_movel_30", "lag_1", "lag_7"):
        moved = before[:, COLUMN[name]] + shift
        np.testing.assert_allclose(after[:, COLUMN[name]], moved, rtol=1e-9, atol=1e-6)
    std = COLUMN["desvio_movel_7"]
    np.testing.assert_allclose(after[:, std], before[:, std], rtol=1e-7, atol=1e-4)


@quick
@given(series, st.integers(1, 400))
def test_a_shift_of_the_days_moves_only_the_calendar(values, days):
    found = engineering.compute_features(panel_of(values))
    later = engineering.compute_features(panel_of(values, first=np.datetime64("2022-01-01") + days))
    np.testing.assert_array_equal(found[:, 4:], later[:, 4:])


@pytest.mark.parametrize("level", [0.0, 1e9, -1e12])
@pytest.mark.parametrize("days", [6, 7, 40])
def test_values_of_recovers_the_series_with_gaps_and_at_any_level(level, days):
    rng = np.random.default_rng(days)
    values = level + rng.normal(0, 5, 90)
    values[rng.random(90) < 0.3] = NAN
    panel = panel_of(values)
    origins = np.arange(days + 7, 90)
    window = gather_context(panel, engineering.compute_features(panel), origins, days)
    expected = [values[end - days - 6 : end + 1] for end in origins]
    tolerance = 1e-9 + 1e-14 * abs(level)
    np.testing.assert_allclose(window_values.values_of(window), expected, rtol=0, atol=tolerance)


def test_values_of_a_window_before_the_series_are_missing():
    panel = panel_of(np.arange(1.0, 6.0))
    window = gather_context(panel, engineering.compute_features(panel), np.array([4]), 30)
    np.testing.assert_allclose(window_values.values_of(window)[0, -5:], [1, 2, 3, 4, 5])
    assert np.isnan(window_values.values_of(window)[0, :-5]).all()


def test_gather_context_equals_a_loop_also_before_the_series(uneven):
    features = engineering.compute_features(uneven)
    origins = np.array([0, 3, 419, 420, 422, 423, 430, 517])
    found = gather_context(uneven, features, origins, 60)
    for i, end in enumerate(origins):
        first, _ = series_of(uneven, end)
        for back in range(60):
            row = end - 59 + back
            expected = features[row] if row >= first else np.full(11, NAN)
            np.testing.assert_array_equal(found[i, back], expected)


@pytest.mark.parametrize(("after", "back"), [(0, 203), (1, 203), (3, 203), (4, 0)])
def test_gather_context_behind_a_long_gap_is_what_was_seen_before_it(after, back):
    values = np.random.default_rng(1).normal(50, 9, 400)
    values[200 - after : 400 - after] = NAN  # the last days seen are `after` days old at most
    panel = panel_of(values)
    features = engineering.compute_features(panel)
    end = np.array([399])
    expected = features[399 - back - 59 : 400 - back]
    np.testing.assert_array_equal(gather_context(panel, features, end, 60)[0], expected)


def test_gather_context_of_a_series_never_observed_is_missing():
    panel = panel_of(np.full(400, NAN))
    context = gather_context(panel, engineering.compute_features(panel), np.array([399]), 60)
    assert np.isnan(context[..., COLUMN["lag_1"]]).all()


@pytest.mark.parametrize("known", [True, False])
def test_known_future_equals_a_loop_over_target_days(uneven, known):
    origins = np.array([0, 380, 400, 417, 419, 420, 422, 460, 517])
    found = known_future(uneven, origins, 28, with_covariates=known)
    expected = [
        [future_by_hand(uneven, end, step, known=known) for step in range(1, 29)] for end in origins
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_known_future_of_the_longest_horizon_reads_history_only(uneven):
    end = np.array([400])
    found = known_future(uneven, end, engineering.MAX_HORIZON)
    later = np.arange(len(uneven.values)) > 400
    changed = panel_of(np.where(later, 1e6, uneven.values)[:420])
    last_year = slice(FUTURE_COLUMN["last_year"], None)
    again = known_future(changed, end, engineering.MAX_HORIZON)
    np.testing.assert_array_equal(found[..., last_year], again[..., last_year])


def test_known_future_refuses_a_horizon_that_would_need_last_years_future(uneven):
    with pytest.raises(ValueError, match="horizon: expected at most 360 days, got 361"):
        known_future(uneven, np.array([0]), 361)


def windows_by_hand(panel, horizon, after, until, min_history, stride):
    found = []
    for s in range(panel.n_series):
        rows = panel.series(s)
        kept = [
            row
            for row in range(rows.start, rows.stop - horizon)
            if row - rows.start + 1 >= min_history
            and (after is None or panel.dates[row + 1] > after)
            and (until is None or panel.dates[row + horizon] <= until)
        ]
        found += sorted(kept[::-1][::stride])
    return found


@pytest.mark.parametrize("stride", [1, 3, 50])
@pytest.mark.parametrize(
    ("after", "until"),
    [(None, None), ("2022-03-01", None), (None, "2022-03-20"), ("2022-02-10", "2022-03-20")],
)
def test_windows_equal_a_loop_over_cutoffs(uneven, stride, after, until):
    after, until = (None if day is None else np.datetime64(day) for day in (after, until))
    found = index_windows(
        uneven,
        engineering.compute_features(uneven),
        7,
        after=after,
        until=until,
        min_history=30,
        stride=stride,
    )
    assert found.origins.tolist() == windows_by_hand(uneven, 7, after, until, 30, stride)


def test_window_targets_are_the_days_after_the_cutoff(uneven):
    windows = index_windows(uneven, engineering.compute_features(uneven), 7, min_history=30)
    index = np.array([0, 5, len(windows.origins) - 1])
    expected = [uneven.values[end + 1 : end + 8] for end in windows.origins[index]]
    np.testing.assert_array_equal(windows.targets(index), expected)


@quick
@given(st.integers(1, 40), st.integers(1, 60), st.integers(0, 80), st.integers(1, 40))
def test_windows_never_target_a_day_out_of_bounds(horizon, min_history, after, length):
    panel = panel_of(np.arange(120.0), np.arange(70.0))
    first = panel.dates[0] + after
    last = first + length
    windows = index_windows(
        panel,
        engineering.compute_features(panel),
        horizon,
        after=first,
        until=last,
        min_history=min_history,
    )
    for end in windows.origins:
        start, stop = series_of(panel, end)
        assert end - start + 1 >= min_history
        assert end + horizon <= stop
        assert panel.dates[end + 1] > first
        assert panel.dates[end + horizon] <= last


def test_values_at_is_missing_outside_the_series(uneven):
    found = values_at(uneven, uneven.factor, np.array([421]), np.array([-2, -1, 0, 1, 2]))
    expected = [NAN, *uneven.factor[420:423], NAN]
    np.testing.assert_array_equal(found[0], expected)
