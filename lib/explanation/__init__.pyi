__all__ = [
    "TOLERANCE",
    "Explainer",
    "Explanation",
    "ExplanationError",
    "Game",
    "exact_shapley",
    "plot_beeswarm",
    "plot_days",
    "plot_importance",
    "plot_map",
    "plot_waterfall",
    "sampled_owen",
]

from .explainer import TOLERANCE, Explainer, ExplanationError
from .explanation import Explanation
from .plots import plot_beeswarm, plot_days, plot_importance, plot_map, plot_waterfall
from .shapley import Game, exact_shapley, sampled_owen
