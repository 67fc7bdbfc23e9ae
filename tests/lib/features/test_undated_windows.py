import numpy as np
import pytest

from lib.features import engineering as ft
from lib.features.undated_windows import known_future_after, last_day

NEAR = np.datetime64("2025-06-30")


def window(last, days=60):
    """Feature rows that end on a day; everything but the calendar is 1."""
    rows = np.ones((days, len(ft.FEATURES)))
    rows[:, :4] = ft.calendar_features(np.datetime64(last) + np.arange(1 - days, 1))[:, :4]
    return rows


@pytest.mark.parametrize("year", [2023, 2024, 2025, 2026, 2027])
def test_last_day_recovers_every_day_near_the_training_span(year):
    days = np.datetime64(f"{year}-01-01") + np.arange(365)
    found = [last_day(window(day), NEAR) for day in days]
    np.testing.assert_array_equal(np.array(found), days)


@pytest.mark.parametrize("days", [56, 60, 90, 180])
def test_last_day_takes_any_number_of_days(days):
    assert last_day(window("2025-03-01", days), NEAR) == np.datetime64("2025-03-01")


def test_last_day_sees_a_leap_day_however_far_the_training_span_is():
    found = last_day(window("2024-03-20"), np.datetime64("2017-01-01"))
    assert str(found)[5:] == "03-20"
    assert (found - np.datetime64(f"{str(found)[:4]}-02-29")).astype(int) == 20


def test_last_day_forgives_rounded_sines():
    assert last_day(window("2025-10-05").round(2), NEAR) == np.datetime64("2025-10-05")


def test_last_day_of_repeated_rows_keeps_weekday_and_month():
    rows = np.repeat(window("2025-10-05")[-1:], 60, axis=0)  # a Sunday
    found = last_day(rows, NEAR)
    assert str(found)[:7] == "2025-10"
    assert 12 <= int(str(found)[8:]) <= 18
    assert (found.astype(int) + 3) % 7 == 6


def test_last_day_of_shuffled_or_meaningless_rows_is_a_day():
    rng = np.random.default_rng(0)
    for _ in range(20):
        rows = rng.uniform(-1, 1, (60, len(ft.FEATURES)))
        assert not np.isnat(last_day(rows, NEAR))
    assert not np.isnat(last_day(np.zeros((60, len(ft.FEATURES))), NEAR))


def test_known_future_after_is_the_calendar_and_nothing_else():
    future = known_future_after(window("2024-02-25"), 7, NEAR)
    expected = ft.calendar_features(np.datetime64("2024-02-26") + np.arange(7))
    np.testing.assert_array_equal(future[0, :, :6], expected)
    assert np.isnan(future[0, :, 6:]).all()


def test_known_future_after_is_shared_and_read_only():
    future = known_future_after(window("2024-02-25"), 7, NEAR)
    with pytest.raises(ValueError, match="read-only"):
        future[0, 0, 0] = 0.0
