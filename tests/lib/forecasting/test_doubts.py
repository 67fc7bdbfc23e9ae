"""Notes on series that are hard to forecast by what their values are like."""

import numpy as np
import pandas as pd

from lib import Forecaster
from lib.forecasting.doubts import describe_doubts

DAYS = 400
DATES = pd.date_range("2024-01-01", periods=DAYS)
USUAL = np.random.default_rng(0).poisson(50, DAYS).astype(float)


def doubts(**series):
    history = pd.concat(
        pd.DataFrame({"series_id": name, "date": DATES, "value": values})
        for name, values in series.items()
    )
    return describe_doubts(history, history.assign(mean=history["value"]))


def spike(size):
    return np.where(np.arange(DAYS) == DAYS - 20, size, USUAL)


def test_usual_series_have_no_doubts():
    few = np.where(np.arange(DAYS) % 3, 0, USUAL)[: DAYS // 2]
    season = 100 + 80 * np.sin(np.arange(DAYS) / 58)
    steps = np.repeat(np.arange(8.0), DAYS // 8)
    assert not doubts(
        usual=USUAL,
        negative=-USUAL,
        constant=np.full(DAYS, 5.0),
        dust=np.where(np.arange(DAYS) % 2, 0.3, 0.1 + 0.2),
        blank=np.where(np.arange(DAYS) % 3, np.nan, USUAL),
        season=season,
        steps=steps,
        fair=spike(300.0),
        zeros=np.append(few, USUAL[: DAYS - len(few)]),
    )


def test_a_running_total_is_named_with_what_to_do():
    total = np.cumsum(USUAL)
    [note] = doubts(usual=USUAL, meter=np.where(np.arange(DAYS) % 50, total, np.nan))
    assert note.startswith("values that never fall, as of a meter or a running total: 'meter' (")
    assert "Forecast what is added each day instead" in note


def test_a_value_far_above_all_others_is_named_with_its_day():
    [note] = doubts(usual=USUAL, odd=spike(5000.0))
    assert "'odd' (5000 on 2025-01-15, the next is " in note
    assert not doubts(old=np.where(np.arange(DAYS) == 10, 5000.0, USUAL))


def test_values_that_hardly_vary_are_named():
    [note] = doubts(usual=USUAL, fine=1e6 + USUAL / 50)
    assert "less than a thousandth of their level: 'fine' (by 0.09" in note


def test_python_notes_what_the_report_does():
    df = pd.DataFrame({"date": DATES, "value": np.cumsum(USUAL)})
    model = Forecaster(horizon=7).fit(df, effort="instant")
    model.predict()
    [note] = model.notes
    assert "running total" in note
