__all__ = [
    "CONTRACT",
    "EFFECTS",
    "FILES",
    "NONNEGATIVE_SERIES",
    "OPTIONAL_FILES",
    "PATHS",
    "RANKS",
    "SERIES_SPREAD",
    "TWIN",
    "ArtifactError",
    "Contract",
    "DayRange",
    "GroupSum",
    "Job",
    "LearnedEffects",
    "Order",
    "Partition",
    "PartitionForecaster",
    "PathSampler",
    "Ranks",
    "Result",
    "ServedModel",
    "Total",
    "add_partitions",
    "align_ranges",
    "apply_floors",
    "choose_order",
    "collect_ranks",
    "cover_zeros",
    "example",
    "forecast_panel",
    "is_finished",
    "mean_of_quantiles",
    "read_ranges",
    "share_difference",
    "subtract",
    "sum_series",
    "unpack_twin",
    "verify_file",
    "verify_folder",
]

from .artifact import (
    CONTRACT,
    EFFECTS,
    FILES,
    NONNEGATIVE_SERIES,
    OPTIONAL_FILES,
    RANKS,
    SERIES_SPREAD,
    TWIN,
    ArtifactError,
    Contract,
    unpack_twin,
    verify_file,
    verify_folder,
)
from .bounds import apply_floors, cover_zeros
from .distribution import mean_of_quantiles
from .effects import LearnedEffects
from .orders import Order, choose_order
from .partition_totals import add_partitions
from .partitions import Job, Partition, PartitionForecaster, Result, is_finished
from .past_ranks import collect_ranks
from .paths import PATHS, PathSampler
from .pyfunc import example
from .ranks import Ranks
from .scenario_parts import share_difference
from .served_model import ServedModel, forecast_panel
from .totals import DayRange, GroupSum, Total, align_ranges, read_ranges, subtract, sum_series
