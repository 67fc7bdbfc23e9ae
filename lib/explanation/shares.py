"""Share out a forecast among features and covariates, and check that the shares add up."""

from __future__ import annotations

import numpy as np

from lib.explanation.cases import Case
from lib.explanation.games import NetworkGame
from lib.explanation.shapley import all_coalitions, exact_product_shapley, exact_shapley
from lib.features import FEATURES

TOLERANCE = 1e-4  # of the difference that is explained


class ExplanationError(RuntimeError):
    """The shares do not add up to the difference that they explain."""


def player_names(case: Case) -> list[str]:
    """Return the names of the features and, after them, of the covariates that are players."""
    return [*FEATURES, *(case.effects.players if case.effects else ())]


def share_out(network: NetworkGame, case: Case) -> np.ndarray:
    """Return the exact shares of the features and, after them, of the covariates.

    Args:
        network: the game of the eleven features.
        case: what is explained.

    Returns:
        (players,), in the unit of the series.
    """
    effects = case.effects
    if effects is None:
        return exact_shapley(network, len(FEATURES))
    coalitions = all_coalitions(len(FEATURES))
    values = network.by_day(coalitions)
    is_feature = np.array([name in FEATURES for name in effects.names])
    columns = [FEATURES.index(name) for name in effects.names if name in FEATURES]
    own = effects.changes[~is_feature]  # (own players, days)
    present = np.zeros((len(coalitions), len(effects.names)), dtype=bool)
    present[:, is_feature] = coalitions[:, columns]
    values = effects.put_back(values, present)
    if effects.additive:
        shares = exact_shapley(lambda _: values.mean(axis=1), len(FEATURES))
        return np.append(shares, own.mean(axis=1))
    by_day = zip(values.T, own.T, strict=True)
    return np.mean([exact_product_shapley(*each) for each in by_day], axis=0)


def check_sums(shares: tuple[np.ndarray, ...], base: float, output: float) -> float:
    """Return the largest relative gap between a sum of shares and the difference explained.

    Raises:
        ExplanationError: it is larger than TOLERANCE.
    """
    difference = output - base
    # A forecast that equals the base leaves nothing to divide by: the float32 of the network
    # is then measured against the forecast itself.
    size = max(abs(difference), 1e-3 * abs(output), 1e-12)
    error = max(float(abs(each.sum() - difference) / size) for each in shares)
    if not error <= TOLERANCE:
        raise ExplanationError(
            f"the shares miss the difference of {difference:.6g} between forecast and "
            f"background by {error:.1e} of it, expected at most {TOLERANCE:.0e}"
        )
    return error
