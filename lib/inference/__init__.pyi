__all__ = [
    "CONTRACT",
    "FILES",
    "NONNEGATIVE_SERIES",
    "SERIES_SPREAD",
    "ArtifactError",
    "Contract",
    "Job",
    "Partition",
    "PartitionForecaster",
    "Result",
    "ServedModel",
    "apply_floors",
    "cover_zeros",
    "example",
    "forecast_panel",
    "is_finished",
    "mean_of_quantiles",
    "verify_file",
    "verify_folder",
]

from .artifact import (
    CONTRACT,
    FILES,
    NONNEGATIVE_SERIES,
    SERIES_SPREAD,
    ArtifactError,
    Contract,
    verify_file,
    verify_folder,
)
from .bounds import apply_floors, cover_zeros
from .distribution import mean_of_quantiles
from .partitions import Job, Partition, PartitionForecaster, Result, is_finished
from .pyfunc import example
from .served_model import ServedModel, forecast_panel
