"""Compute the forecasts of requests that arrive together in one batch.

One inference of eight windows takes about three times as long as one of a single window. So the
requests that arrive during an inference wait and form the next batch; a request that comes alone
does not wait at all. The numbers are those of a batch of one, to 1e-8 of their size.
"""

from __future__ import annotations

import threading

import numpy as np

from lib.inference import ServedModel

BATCH = 16  # windows of one inference: more would make the first wait for the last


class _Window:
    """One window, and its forecast or error."""

    __slots__ = ("error", "features", "future", "leads", "quantiles", "turn")

    def __init__(self, features: np.ndarray, future: np.ndarray) -> None:
        self.features = features
        self.future = future
        self.quantiles: np.ndarray | None = None
        self.error: BaseException | None = None
        self.leads = False
        # Released when it leads the next batch or its forecast is done; an Event is slower.
        self.turn = threading.Lock()
        self.turn.acquire()


class Batcher:
    """Shares the inferences of one model between the threads that call it."""

    def __init__(self, forecaster: ServedModel) -> None:
        self._forecaster = forecaster
        self._lock = threading.Lock()
        self._waiting: list[_Window] = []
        self._busy = False

    def predict(self, features: np.ndarray, future: np.ndarray) -> np.ndarray:
        """Forecast one window of `context_length` days.

        Args:
            features: (1, days, 11), raw units, NaN where missing.
            future: (1, horizon, len(FUTURE)), NaN where not known.

        Returns:
            (horizon, quantiles), raw units.

        Raises:
            ValueError: as `ServedModel.predict` does.
        """
        window = _Window(features, future)
        with self._lock:
            self._waiting.append(window)
            window.leads, self._busy = not self._busy, True
        if not window.leads:
            window.turn.acquire()
        if window.leads:  # from the start, or because the leader before handed over
            self._lead()
        if window.error is not None:
            raise window.error
        if window.quantiles is None:
            raise RuntimeError("a window was left out of its batch")
        return window.quantiles

    def _lead(self) -> None:
        """Compute the waiting batch, whose first window is the caller's; choose the next leader."""
        with self._lock:
            batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
        try:
            self._compute(batch)
        except BaseException as error:
            for window in batch:
                window.error = error
            raise
        finally:
            with self._lock:
                following = self._waiting[0] if self._waiting else None
                if following is None:
                    self._busy = False
                else:
                    following.leads = True
            for window in [*batch, following]:
                if window is not None:
                    window.turn.release()

    def _compute(self, batch: list[_Window]) -> None:
        if len(batch) == 1:
            features, future = batch[0].features, batch[0].future
        else:
            features = np.concatenate([window.features for window in batch])
            future = np.concatenate([window.future for window in batch])
        for window, quantiles in zip(
            batch, self._forecaster.predict(features, future), strict=True
        ):
            window.quantiles = quantiles
