__all__ = [
    "CALIBRATION",
    "COLD_START",
    "CONTRACT",
    "EFFECTS",
    "FILES",
    "KNOWN_DAYS",
    "NONNEGATIVE_SERIES",
    "OPTIONAL_FILES",
    "PAST_EFFECTS",
    "PATHS",
    "PRETRAINED_ARTIFACT",
    "PRETRAINED_GRAPH",
    "PRETRAINED_VERSION",
    "RANKS",
    "SERIES_SPREAD",
    "TWIN",
    "ArtifactError",
    "ColdStart",
    "Contract",
    "DayRange",
    "GroupSum",
    "Job",
    "LearnedEffects",
    "LearnedPast",
    "Order",
    "Partition",
    "PartitionForecaster",
    "PathSampler",
    "RangeSums",
    "Ranks",
    "Result",
    "ServedModel",
    "SharedGraph",
    "Total",
    "add_partitions",
    "align_ranges",
    "apply_floors",
    "choose_order",
    "cover_zeros",
    "describe_young",
    "example",
    "forecast_completed",
    "forecast_panel",
    "is_finished",
    "mean_of_quantiles",
    "read_ranges",
    "share_difference",
    "subtract",
    "sum_ranges",
    "unpack_twin",
    "usual_widths",
    "verify_file",
    "verify_folder",
]

from .artifact import (
    CALIBRATION,
    COLD_START,
    CONTRACT,
    EFFECTS,
    FILES,
    NONNEGATIVE_SERIES,
    OPTIONAL_FILES,
    PAST_EFFECTS,
    PRETRAINED_ARTIFACT,
    PRETRAINED_GRAPH,
    PRETRAINED_VERSION,
    RANKS,
    SERIES_SPREAD,
    TWIN,
    ArtifactError,
    Contract,
    verify_file,
    verify_folder,
)
from .bounds import apply_floors, cover_zeros
from .cold_start import KNOWN_DAYS, ColdStart, usual_widths
from .distribution import mean_of_quantiles
from .effects import LearnedEffects, LearnedPast
from .orders import Order, choose_order
from .partition_totals import add_partitions
from .partitions import Job, Partition, PartitionForecaster, Result, is_finished
from .paths import PATHS, PathSampler
from .ranks import Ranks
from .scenario_parts import share_difference
from .served_model import ServedModel, forecast_completed, forecast_panel
from .shared_graph import SharedGraph
from .signatures import example
from .totals import (
    DayRange,
    GroupSum,
    RangeSums,
    Total,
    align_ranges,
    read_ranges,
    subtract,
    sum_ranges,
)
from .twins import unpack_twin
from .young_notes import describe_young
