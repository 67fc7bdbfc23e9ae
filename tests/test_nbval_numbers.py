import pytest

from tests.nbval_numbers import Output


@pytest.mark.parametrize(
    ("one", "another", "same"),
    [
        ("mase 8.709", "mase 8.710", True),
        ("mase 8.709", "mase 8.809", False),
        ("0.001", "0.003", True),
        ("0.001", "0.004", False),
        ("1.2e-05", "1.3e-05", True),
        ("1.2e-05", "1.2e-04", False),
        ("-1.20", "1.20", False),
        ("2026-01-05", "2026-01-06", False),
        ("80 of 81", "80 of 82", False),
        ("ours 1.00", "naive 1.00", False),
        ("1.0 2.0", "1.0", False),
        ("saving  100.069", "saving   100.08", True),
    ],
)
def test_only_decimals_may_differ_and_by_little(one, another, same):
    assert (Output(one) == Output(another)) is same
    assert (Output(one) != Output(another)) is not same
