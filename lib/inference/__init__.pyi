__all__ = [
    "CONTRACT",
    "FILES",
    "NONNEGATIVE_SERIES",
    "ArtifactError",
    "Contract",
    "Job",
    "Partition",
    "PartitionForecaster",
    "Result",
    "ServedModel",
    "apply_floors",
    "example",
    "forecast_panel",
    "is_finished",
    "verify_file",
    "verify_folder",
]

from .artifact import (
    CONTRACT,
    FILES,
    NONNEGATIVE_SERIES,
    ArtifactError,
    Contract,
    verify_file,
    verify_folder,
)
from .partitions import Job, Partition, PartitionForecaster, Result, is_finished
from .pyfunc import example
from .served_model import ServedModel, apply_floors, forecast_panel
