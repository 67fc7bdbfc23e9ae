"""The live display of a run on a terminal: the stage, how far it has come, and the time left.

The kernels are other processes. What they report (`lib.progress`) is read at each refresh.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lib.log import is_for_people
from lib.progress import Progress, close_progress, open_progress, read_progress
from lib.settings import Settings

if TYPE_CHECKING:
    from rich.console import RenderableType

OnCell = Callable[
    [str, int, int], None
]  # stage, cell that starts (0 for the kernel), number of cells
_REFRESHES = 4  # a second
_BAR_WIDTH = 30


@contextmanager
def watch(run: Path, stages: Sequence[str], settings: Settings) -> Generator[OnCell | None]:
    """Show the run on stderr where that is a terminal; yield what to call for each cell.

    Elsewhere, or with LOG_FORMAT=json, nothing is shown and None is yielded.

    Args:
        run: the run folder.
        stages: names of the stages, in order.
        settings: the format of the logs.
    """
    if not (is_for_people(settings.log_format) and sys.stderr.isatty()):
        yield None
        return
    from rich.console import Console
    from rich.live import Live

    display = RunDisplay(run, stages)
    open_progress(run)
    try:
        # Lines of the log are written above it: it replaces sys.stderr.
        with Live(
            get_renderable=display.render,
            console=Console(stderr=True, highlight=False),
            refresh_per_second=_REFRESHES,
            transient=True,
        ):
            yield display.start_cell
    finally:
        close_progress(run)


class RunDisplay:
    """What is shown of a run; `render` may be called from another thread."""

    def __init__(
        self, run: Path, stages: Sequence[str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._run = run
        self._stages = list(stages)
        self._clock = clock
        self._stage, self._cell, self._cells = "", 0, 0
        self._stage_began = clock()
        self._first: tuple[float, Progress] | None = None  # since when, of this cell
        self._latest: tuple[float, int] = (0.0, 0)  # since when so many are done

    def start_cell(self, stage: str, cell: int, cells: int) -> None:
        """Take note that a cell starts, cell 0 being the kernel. Earlier reports are over."""
        if stage != self._stage:
            self._stage, self._stage_began = stage, self._clock()
        self._cell, self._cells, self._first = cell, cells, None
        open_progress(self._run)

    def render(self) -> RenderableType:
        """Return two lines for rich: the stage, and how far it has come."""
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        if not self._stage:
            return Text("looking for what is done already …", style="dim")
        progress = read_progress(self._run)
        done, total, words = self._describe(progress)
        grid = Table.grid(padding=(0, 1))
        grid.add_row(ProgressBar(total=total, completed=done, width=_BAR_WIDTH), Text(words))
        number = self._stages.index(self._stage) + 1 if self._stage in self._stages else 0
        head = Text.assemble(
            (self._stage, "bold"),
            f"  stage {number} of {len(self._stages)}",
            (f" · {format_seconds(self._clock() - self._stage_began)}", "dim"),
        )
        return Group(head, grid)

    def _describe(self, progress: Progress | None) -> tuple[int, int, str]:
        """Return how many are done, of how many, and the line in words."""
        if not self._cell:
            return 0, 1, "its kernel starts …"
        cell = f"cell {self._cell} of {self._cells}"
        if progress is None or progress.done >= progress.total:
            return self._cell - 1, max(self._cells, 1), cell
        parts = [f"{progress.done} of {progress.total} {progress.unit}"]
        if progress.loss is not None:
            parts.append(f"best loss {progress.loss:.4f}")
        if progress.detail:
            parts.append(progress.detail)
        if (left := self._seconds_left(progress)) is not None:
            parts.append(f"about {format_seconds(left)} left")
        return progress.done, progress.total, " · ".join(parts)

    def _seconds_left(self, progress: Progress) -> float | None:
        """Return the time left at the pace since the first report; None before the second."""
        now = self._clock()
        if self._first is None:
            self._first, self._latest = (now, progress), (now, progress.done)
        if progress.done != self._latest[1]:
            self._latest = (now, progress.done)
        began, first = self._first
        at, done = self._latest
        if done <= first.done or at <= began:
            return None
        pace = (at - began) / (done - first.done)
        return max(0.0, (progress.total - done) * pace - (now - at))


def format_seconds(seconds: float) -> str:
    """Return a duration as minutes and seconds, or hours, minutes and seconds.

    >>> format_seconds(75.4), format_seconds(3725)
    ('1:15', '1:02:05')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
