__all__ = [
    "CONTRACT",
    "FILES",
    "ArtifactError",
    "Contract",
    "Job",
    "Partition",
    "PartitionForecaster",
    "Result",
    "ServedModel",
    "digest",
    "example",
    "forecast_panel",
    "is_finished",
    "verify",
]

from .artifact import CONTRACT, FILES, ArtifactError, Contract, digest, verify
from .partitions import Job, Partition, PartitionForecaster, Result, is_finished
from .pyfunc import example
from .served_model import ServedModel, forecast_panel
