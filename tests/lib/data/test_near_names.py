"""Names of columns: slips are told from other things that are named alike."""

import pytest

from lib.data.near_names import is_misspelt


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("price", "Prices"),
        ("price", "pirce"),
        ("price", " price "),
        ("promotion", "promoton"),
        ("unit_price", "unitPrice"),
        ("unit_price", "unit prise"),
        ("promoção", "promocao"),
        ("promo_2", "promos 2"),
    ],
)
def test_slips(name, other):
    assert is_misspelt(name, other)
    assert is_misspelt(other, name)


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("price", "prices_eur"),
        ("price", "rice"),
        ("price", "price_old"),
        ("promo", "promo2"),
        ("promo_1", "promo_2"),
        ("promo_a", "promo_b"),
        ("temp_min", "temp_max"),
        ("temperature_2m_min", "temperature_2m_max"),
        ("temperatureMin", "temperatureMax"),
        ("wind_speed", "wind_speed_max"),
        ("open_am", "open_pm"),
        ("day", "date"),
        ("day", "days"),
        ("price", ""),
        ("price", "__"),
        ("", "a"),
    ],
)
def test_other_things(name, other):
    assert not is_misspelt(name, other)
    assert not is_misspelt(other, name)
