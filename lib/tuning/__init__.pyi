__all__ = [
    "default_value",
    "finished_trials",
    "gain_percent",
    "plan",
    "plot_curves",
    "plot_history",
    "plot_importance",
    "plot_slices",
    "plot_split",
    "read_result",
    "read_table",
    "tune",
    "write_result",
]

from .plots import plot_curves, plot_history, plot_importance, plot_slices, plot_split
from .results import read_result, read_table, write_result
from .search import tune
from .search_space import plan
from .study import default_value, finished_trials, gain_percent
