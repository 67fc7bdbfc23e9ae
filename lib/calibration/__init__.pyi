__all__ = [
    "CALIBRATION_DAYS",
    "CALIBRATION_WINDOWS",
    "COVARIATES",
    "PreparedData",
    "add_learned",
    "calibrate_zero_shot",
    "collect_ranks",
    "learn_past",
    "measure_units",
    "prepare_zero_shot",
    "remove_effects",
    "renew_effects",
    "residuals_of",
    "spread_by_series",
    "spread_of",
    "weeks_of",
    "without_constants",
]

from .learned import add_learned, renew_effects
from .past_ranks import collect_ranks
from .prepared import (
    CALIBRATION_DAYS,
    CALIBRATION_WINDOWS,
    COVARIATES,
    PreparedData,
    learn_past,
    measure_units,
    prepare_zero_shot,
    remove_effects,
    without_constants,
)
from .widths import residuals_of, spread_by_series, spread_of, weeks_of
from .zero_shot import calibrate_zero_shot
