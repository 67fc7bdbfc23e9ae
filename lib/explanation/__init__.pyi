__all__ = [
    "TOLERANCE",
    "WORDS",
    "Case",
    "Explainer",
    "Explanation",
    "ExplanationError",
    "Game",
    "exact_product_shapley",
    "exact_shapley",
    "plot_beeswarm",
    "plot_days",
    "plot_importance",
    "plot_map",
    "plot_waterfall",
    "sampled_owen",
]

from .cases import Case
from .explainer import Explainer
from .explanation import Explanation
from .players import WORDS
from .plots import plot_beeswarm, plot_days, plot_importance, plot_map, plot_waterfall
from .shapley import Game, exact_product_shapley, exact_shapley, sampled_owen
from .shares import TOLERANCE, ExplanationError
