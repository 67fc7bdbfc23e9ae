"""Forecasts of requests that arrive together, computed together.

One inference of eight windows takes about three times as long as one of a single window. So while
one is running, the requests that arrive wait and are the next batch; a request that is alone does
not wait at all. The numbers are those of a batch of one, to 1e-8 of their size.
"""

from __future__ import annotations

import threading

import numpy as np

from lib.inference import ServedModel

BATCH = 16  # windows of one inference: more would make the first wait for the last


class _Ask:
    """One window, and what became of it."""

    __slots__ = ("error", "features", "future", "leads", "quantiles", "turn")

    def __init__(self, features: np.ndarray, future: np.ndarray) -> None:
        self.features = features
        self.future = future
        self.quantiles: np.ndarray | None = None
        self.error: BaseException | None = None
        self.leads = False
        # Released when its turn has come or its forecast is there; an Event takes longer.
        self.turn = threading.Lock()
        self.turn.acquire()


class Batcher:
    """Shares the inferences of one model between threads. No thread of its own."""

    def __init__(self, forecaster: ServedModel) -> None:
        self._forecaster = forecaster
        self._lock = threading.Lock()
        self._waiting: list[_Ask] = []
        self._busy = False

    def predict(self, features: np.ndarray, future: np.ndarray) -> np.ndarray:
        """The forecast of one window of `context_length` days.

        Args:
            features: (1, days, 11).
            future: (1, horizon, len(FUTURE)).
        Returns:
            (horizon, quantiles).
        Raises what `Forecaster.predict` does.
        """
        ask = _Ask(features, future)
        with self._lock:
            self._waiting.append(ask)
            ask.leads, self._busy = not self._busy, True
        if not ask.leads:
            ask.turn.acquire()
        if ask.leads:  # from the start, or because the leader before handed over
            self._lead()
        if ask.error is not None:
            raise ask.error
        if ask.quantiles is None:
            raise RuntimeError("a window was left out of its batch")
        return ask.quantiles

    def _lead(self) -> None:
        """Compute the batch that waits, which the caller is the first of; choose who is next."""
        with self._lock:
            batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
        try:
            self._compute(batch)
        except BaseException as error:
            for ask in batch:
                ask.error = error
            raise
        finally:
            with self._lock:
                following = self._waiting[0] if self._waiting else None
                if following is None:
                    self._busy = False
                else:
                    following.leads = True
            for ask in [*batch, following]:
                if ask is not None:
                    ask.turn.release()

    def _compute(self, batch: list[_Ask]) -> None:
        if len(batch) == 1:
            features, future = batch[0].features, batch[0].future
        else:
            features = np.concatenate([ask.features for ask in batch])
            future = np.concatenate([ask.future for ask in batch])
        for ask, quantiles in zip(batch, self._forecaster.predict(features, future), strict=True):
            ask.quantiles = quantiles
