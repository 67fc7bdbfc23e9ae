"""Hold the shares of one forecast, as the store and the API have them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field


@dataclass(frozen=True)
class Explanation:
    """Hold the shares of one forecast, in the unit of the series.

    The shares sum to `output_value - base_value`.

    Attributes:
        horizon_day: the day ahead, 1 for the first; 0 for the mean over the horizon.
        level: the quantile that is explained.
        base_value: mean forecast of the background windows.
        output_value: the forecast.
        by_feature: share of each of the eleven features and, after them, of each covariate with
            an effect of its own, exact.
        by_day: share of each block of days ("1", "2-3", … days before, "ahead"), exact.
        feature_by_day: (entries of `by_feature`, blocks), sampled; each row sums to the share of
            its feature or covariate.
        additivity_error: largest gap of the three sums, relative to the difference explained (or
            to a thousandth of the forecast, where the difference is smaller than that).
        background_windows: number of windows behind `base_value`.
        covariates: value of each covariate with an effect on the explained day: a number, the label
            of a category, None where the mean of all days is explained.
        base_of_series: whether the background windows are of the series' own past, so that the
            base is what is usual for it; otherwise they are those of the model.
    """

    horizon_day: int
    level: float
    base_value: float
    output_value: float
    by_feature: dict[str, float]
    by_day: dict[str, float]
    feature_by_day: tuple[tuple[float, ...], ...]
    additivity_error: float
    background_windows: int
    covariates: dict[str, str | float | None] = field(default_factory=dict)
    base_of_series: bool = False

    def to_json(self) -> str:
        """Return the explanation as JSON, which `from_json` reads.

        The last two fields are those of dated series alone.
        """
        values = asdict(self)
        if not self.base_of_series and not self.covariates:
            del values["covariates"], values["base_of_series"]
        return json.dumps(values)

    @classmethod
    def from_json(cls, text: str) -> Explanation:
        """Read what `to_json` has written."""
        values = json.loads(text)
        rows = tuple(tuple(row) for row in values["feature_by_day"])
        return cls(**(values | {"feature_by_day": rows}))
