"""Named holidays of countries and states, as a covariate and as events."""

import numpy as np
import pandas as pd
import pytest

from lib.data.holidays import mark_public_holidays, name_holidays
from lib.data.loading import validate
from lib.data.panel import SeriesError
from lib.data.series_tables import to_panel


def days(*texts):
    return np.array(texts, dtype="datetime64[D]")


def two_years(**columns) -> pd.DataFrame:
    dates = pd.date_range("2022-12-20", "2024-12-31")
    return pd.DataFrame({"date": dates, "value": 7.0 + np.arange(len(dates)) % 3} | columns)


def test_optional_holidays_that_move_demand_are_named():
    names = name_holidays(days("2023-02-21", "2024-02-13", "2024-05-30", "2024-05-31"), "BR")
    assert names.tolist() == ["Carnival", "Carnival", "Corpus Christi", ""]


def test_days_in_lieu_have_the_name_of_their_holiday():
    names = name_holidays(days("2022-12-25", "2022-12-26", "2023-11-10", "2023-11-11"), "US")
    assert names.tolist() == ["Christmas Day"] * 2 + ["Veterans Day"] * 2


def test_a_state_adds_its_own_days():
    day = days("2024-07-09")
    assert name_holidays(day, "BR").tolist() == [""]
    assert name_holidays(day, "BR", "SP").tolist() == ["Constitutionalist Revolution"]
    assert mark_public_holidays(day, "BR").tolist() == [0.0]
    assert mark_public_holidays(day, "BR", "SP").tolist() == [1.0]


def test_country_adds_named_holidays_and_fills_events():
    table = validate(two_years(), country="BR", state="SP")
    names = table["known:holiday:holiday:BR:SP"]
    assert names.notna().all()
    carnival = table.loc[names == "Carnival", "date"].dt.strftime("%Y-%m-%d").tolist()
    assert carnival == ["2023-02-20", "2023-02-21", "2024-02-12", "2024-02-13"]
    assert set(table["evento_especial"]) == {0.0, 1.0}
    covariate = to_panel(table).covariates[0]
    assert (covariate.name, covariate.kind, covariate.calendar) == ("holiday", "holiday", "BR:SP")


def test_events_of_the_data_stay_beside_the_named_holidays():
    table = validate(two_years(evento_especial=0.0), country="BR")
    assert (table["evento_especial"] == 0).all()
    assert "Carnival" in set(table["known:holiday:holiday:BR"])


def test_country_may_be_a_static_covariate():
    shops = {"a": ("BR", "SP"), "b": ("US", "NY"), "c": (None, None)}
    frame = pd.concat(
        [two_years(series_id=k, land=c, part=s) for k, (c, s) in shops.items()], ignore_index=True
    )
    table = validate(
        frame, static_covariates=["land", "part"], country="land", state="part"
    ).set_index(["series_id", "date"])
    names = table["known:holiday:holiday:land:part"]
    assert names["a", "2024-07-09"] == "Constitutionalist Revolution"
    assert names["b", "2024-07-04"] == "Independence Day"
    assert names["b", "2024-07-09"] == names["a", "2024-07-04"] == ""
    assert (names["c"] == "").all()
    assert table.loc[("a", "2024-07-09"), "evento_especial"] == 1.0
    assert table.loc[("b", "2024-07-09"), "evento_especial"] == 0.0


@pytest.mark.parametrize(
    ("country", "state", "words"),
    [("XX", "", "COUNTRY: got 'XX'"), ("BR", "XX", r"STATE: got 'XX'.*SP")],
)
def test_unknown_places_are_refused(country, state, words):
    with pytest.raises(SeriesError, match=words):
        validate(two_years(), country=country, state=state)
