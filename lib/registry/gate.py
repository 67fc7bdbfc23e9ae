"""Evaluate a challenger beside the champion, and decide whether to promote it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from lib.inference import Contract, unpack_twin
from lib.registry.promotion import Decision, decide_promotion
from lib.registry.versions import RegistryError

if TYPE_CHECKING:
    from lib.evaluation import Backtest, Difference, Verdict

# Return the backtest of an artifact folder over the first so many days of the horizon, or its
# scores alone, which say nothing of the noise of a comparison.
Evaluate = Callable[[Path, int], "Backtest | Mapping[str, float]"]
# Put the artifact of a version into a folder, and return the folder.
Fetch = Callable[[int, Path], Path]
log = structlog.get_logger()


@dataclass(frozen=True)
class _Comparison:
    """Scores over the days that both models forecast; `problem` is why there are none."""

    champion: Mapping[str, float] | None = None
    challenger: Mapping[str, float] | None = None  # None where that is its whole horizon
    differences: tuple[Difference, ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class PromotionGate:
    """Compare one challenger with champions on the same forecast origins.

    Attributes:
        challenger: its artifact folder; the champion's is put beside it.
        fetch: gets the artifact of the champion.
        evaluate: backtest of an artifact at origins that are the same for every artifact.
        seasonal_naive: scores of seasonal naive there, over the challenger's horizon.
        metric: the score that decides.
        verdict: of the challenger beside the best simple forecast, None where it is not known.
    """

    challenger: Path
    fetch: Fetch
    evaluate: Evaluate
    seasonal_naive: Mapping[str, float]
    metric: str
    verdict: Verdict | None = None

    @cached_property
    def result(self) -> Backtest | Mapping[str, float]:
        """The challenger's backtest over its horizon, of its twin where it has one."""
        return self.evaluate(unpack_twin(self.challenger), _horizon(self.challenger))

    def decide(self, champion: int | None) -> Decision:
        """Decide against a production version, None where there is none.

        A champion that cannot be read or evaluated does not block: beating the simple forecasts is
        enough then, and the decision says why. Errors of the store or the machine are raised.
        """
        scores = _scores(self.result)
        comparison = _Comparison() if champion is None else self._compare(champion)
        decision = decide_promotion(
            scores,
            comparison.champion,
            self.seasonal_naive,
            shared_horizon=comparison.challenger,
            metric=self.metric,
            verdict=self.verdict,
            differences=comparison.differences,
        )
        figures = {**decision.figures, "champion_version": champion}
        if not comparison.problem:
            return replace(decision, figures=figures)
        return Decision(
            decision.promote,
            f"{decision.reason} (production version {champion} cannot be evaluated: "
            f"{comparison.problem})",
            {**figures, "champion_problem": comparison.problem},
        )

    def _compare(self, version: int) -> _Comparison:
        from mlflow.exceptions import MlflowException

        try:
            champion = self.fetch(version, self.challenger.with_name("champion"))
            days, champion_days = _horizon(self.challenger), _horizon(champion)
            other = self.evaluate(unpack_twin(champion), min(days, champion_days))
            if champion_days >= days:
                return _Comparison(_scores(other), None, _compare_paired(self.result, other))
            result = self.evaluate(unpack_twin(self.challenger), champion_days)
            return _Comparison(_scores(other), _scores(result), _compare_paired(result, other))
        except (OSError, MemoryError, MlflowException, RegistryError):
            raise  # the store or the machine failed: that says nothing about the champion
        except Exception as error:
            log.warning("production cannot be evaluated", version=version, exc_info=True)
            return _Comparison(problem=f"{type(error).__name__}: {error}"[:500])


def _scores(result: Backtest | Mapping[str, float]) -> Mapping[str, float]:
    """Return the scores of a backtest."""
    if isinstance(result, Mapping):
        return result
    from lib.evaluation import compute_metrics

    return compute_metrics(result)


def _compare_paired(
    result: Backtest | Mapping[str, float], other: Backtest | Mapping[str, float]
) -> tuple[Difference, ...]:
    """Return the differences of two backtests in MASE and WQL, none where there are scores only."""
    if isinstance(result, Mapping) or isinstance(other, Mapping):
        return ()
    from lib.evaluation import METRICS, compare

    found = (compare(result, other, metric, "production") for metric in METRICS)
    return tuple(one for one in found if math.isfinite(one.difference))


def _horizon(folder: Path) -> int:
    return Contract.read(folder).horizon
