"""Executes a notebook with papermill in a kernel of this interpreter, and draws its HTML page.

papermill and nbconvert take a second to import, so this module is imported when a stage has to run.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import tempfile
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import nbformat
import papermill
import psutil
from jinja2 import DictLoader
from jupyter_client.client import KernelClient
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager
from jupyter_client.utils import run_sync
from nbconvert import HTMLExporter
from papermill.exceptions import PapermillExecutionError

from lib.pipeline.display import OnCell
from lib.pipeline.stages import StageError
from lib.settings import ROOT, ROOT_VARIABLE, Settings

# Marks the kernel and all its children, so that those of a killed run can be found.
_MARK = "PRODUCTION_LSTM_RUN"
# JupyterLab's page without the parts that fetch scripts from a CDN.
_OFFLINE = """{% extends 'lab/index.html.j2' %}
{% block html_head_js %}{% endblock %}
{% block jupyter_widgets %}{% endblock %}
{% block html_head_js_mathjax %}{% endblock %}
{% block html_head_js_mermaidjs %}{% endblock %}
"""
_WIDGET = "application/vnd.jupyter.widget-view+json"
_LINES_SHOWN = 12


def run_notebook(
    run: Path,
    notebook: Path,
    values: Mapping[str, Any],
    settings: Settings,
    on_cell: OnCell | None = None,
) -> Path:
    """Run a notebook for a run folder and draw its HTML page; return the page.

    Args:
        run: the run folder; gets `notebooks/<stage>.ipynb` and `html/<stage>.html`.
        notebook: path of the notebook.
        values: the parameters to inject, by name.
        settings: where `var/` is.
        on_cell: called at the start of each cell with stage, number and count of the cells.

    Raises:
        StageError: a cell raised, or the kernel died.
    """
    stage = notebook.stem
    executed, page = run / "notebooks" / notebook.name, run / "html" / f"{stage}.html"
    # One thread each: two in one process slow each other down by orders of magnitude.
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    environment = {**threads, "VAR_DIR": str(settings.var_dir), ROOT_VARIABLE: str(ROOT)}
    if on_cell:
        on_cell(stage, 0, 0)
    try:
        execute_notebook(
            notebook, executed, values, run=run, environment=environment, on_cell=on_cell
        )
    except StageError as error:
        raise StageError(
            f"stage {stage}: {error}\nThe partial notebook is {executed}\n"
            "Once the cause is gone, the same command resumes at this stage."
        ) from None
    to_html(executed, page)
    return page


def execute_notebook(
    notebook: Path,
    output: Path,
    values: Mapping[str, Any],
    *,
    run: Path,
    environment: Mapping[str, str],
    on_cell: OnCell | None = None,
) -> None:
    """Run `notebook` with `values` injected, saving it to `output` after each cell.

    Args:
        notebook: the notebook; its folder becomes the kernel's working directory.
        output: where the executed notebook goes, also when it fails.
        values: the parameters, by name.
        run: the run folder; no process of an earlier kernel for it is left alive.
        environment: variables for the kernel, over the ones it inherits.
        on_cell: called at the start of each cell with stage, number and count of the cells.

    Raises:
        StageError: a cell raised, or the kernel died.
        KeyboardInterrupt: the run was interrupted; the kernel is gone.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    for name in ("papermill", "papermill.translators"):
        logging.getLogger(name).addFilter(_is_new)
    hooks = {"on_cell_start": _count_cells(notebook, on_cell)} if on_cell else {}
    variables = {**os.environ, **environment, _MARK: str(run)}
    stop_stale_kernels(run)
    with tempfile.TemporaryFile() as stderr_log:
        try:
            with (
                _interrupted_once(),
                _running_kernel(notebook.parent, variables, stderr_log) as kernel,
            ):
                papermill.execute_notebook(
                    notebook,
                    output,
                    dict(values),
                    kernel_name="python3",
                    language="python",
                    progress_bar=False,
                    cwd=notebook.parent,
                    km=kernel,
                    **hooks,
                )
        except PapermillExecutionError as error:
            raise StageError(_describe_failed_cell(error)) from None
        except RuntimeError as error:  # DeadKernelError, or a kernel that never answered
            raise StageError(
                f"the kernel died: {error}{_last_cell(output)}{_error_summary(stderr_log)}\n"
                "A process that is killed without a message has often run out of memory."
            ) from error
        finally:
            stop_stale_kernels(run)


def to_html(notebook: Path, output: Path) -> None:
    """Write `notebook` as one HTML file that fetches nothing from anywhere."""
    exporter = HTMLExporter(
        template_file="offline.html.j2", extra_loaders=[DictLoader({"offline.html.j2": _OFFLINE})]
    )
    node = nbformat.read(notebook, as_version=4)
    node.metadata["title"] = notebook.stem
    node.metadata.pop("widgets", None)
    for cell in node.cells:
        if cell.get("outputs"):  # a widget needs scripts; its text is that of its first moment
            cell.outputs = [o for o in cell.outputs if _WIDGET not in o.get("data", {})]
    text, _ = exporter.from_notebook_node(node)
    output.parent.mkdir(parents=True, exist_ok=True)
    part = output.with_suffix(".tmp")
    part.write_text(text, encoding="utf-8")
    part.replace(output)


def stop_stale_kernels(run: Path) -> None:
    """Kill the kernels that still run for the folder `run`, with their children.

    Call it only while holding the run's lock: then none of them can be in use.
    """
    for process in psutil.process_iter():
        try:
            if process.environ().get(_MARK) == str(run) and process.pid != os.getpid():
                process.kill()
        except psutil.Error:
            continue  # gone, or another user's


class _Kernel(KernelManager):
    """A kernel that knows its clients, so that their sockets are closed with it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.clients: list[KernelClient] = []

    def client(self, **options: Any) -> Any:
        """Return a new client."""
        self.clients.append(super().client(**options))
        return self.clients[-1]


@contextmanager
def _running_kernel(
    folder: Path, environment: Mapping[str, str], stderr_log: IO[bytes]
) -> Generator[_Kernel]:
    """Start a kernel of this interpreter; shut it down at the end, at once after an error.

    Its messages outside of cells go to `stderr_log`: stderr is for the run's JSON lines.
    """
    with tempfile.TemporaryDirectory(prefix="kernel-", ignore_cleanup_errors=True) as sockets:
        kernel = _Kernel(
            # Without folders to look in, `python3` is this interpreter and not another one.
            kernel_spec_manager=KernelSpecManager(kernel_dirs=[]),
            kernel_name="python3",
            # TCP ports are chosen before they are bound: two runs may choose the same one.
            transport="ipc",
            connection_file=str(Path(sockets) / "kernel.json"),
            client_class="jupyter_client.AsyncKernelClient",
        )
        kernel.start_kernel(
            extra_arguments=["--HistoryManager.enabled=False"],  # one file for all kernels
            cwd=str(folder),
            env=dict(environment),
            stderr=stderr_log,
        )
        finished = False
        try:
            yield kernel
            finished = True
        finally:
            _cancel_tasks()
            for client in kernel.clients:
                client.stop_channels()
            kernel.shutdown_kernel(now=not finished)


@run_sync
async def _cancel_tasks() -> None:
    """End what an interrupt has left of the execution: it would report that its kernel is gone."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@contextmanager
def _interrupted_once() -> Generator[None]:
    """Make SIGINT and SIGTERM a KeyboardInterrupt, once, so that cleaning up is not cut off."""
    interrupted = False

    def interrupt(number: int, frame: object) -> None:
        nonlocal interrupted
        if not interrupted:
            interrupted = True
            raise KeyboardInterrupt

    numbers = (signal.SIGINT, signal.SIGTERM)
    try:
        before = [signal.signal(number, interrupt) for number in numbers]
    except ValueError:  # not the main thread, which is where signals arrive
        yield
        return
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _count_cells(notebook: Path, on_cell: OnCell) -> Callable[..., None]:
    """Return a hook of nbclient that passes the number of the cell on."""
    cells = len(nbformat.read(notebook, as_version=4).cells) + 1  # that of the parameters

    def start_cell(cell: object, cell_index: int) -> None:
        on_cell(notebook.stem, cell_index + 1, cells)

    return start_cell


def _is_new(entry: logging.LogRecord) -> bool:
    """Leave out what papermill says of parameters: they have been checked by better means."""
    return not str(entry.msg).startswith(("Passed unknown parameter", "Unable to parse line"))


def _describe_failed_cell(error: PapermillExecutionError) -> str:
    lines = error.source.strip().splitlines()
    shown = "\n".join(f"    {line}" for line in lines[:_LINES_SHOWN])
    more = f"\n    … {len(lines) - _LINES_SHOWN} more lines" if len(lines) > _LINES_SHOWN else ""
    return f"{error.ename}: {error.evalue}\nin cell In [{error.exec_count}]:\n{shown}{more}"


def _last_cell(output: Path) -> str:
    """Return the source of the cell that was started last, as a part of a message."""
    try:
        cells = nbformat.read(output, as_version=4).cells
    except (OSError, ValueError, nbformat.validator.NotebookValidationError):
        return ""
    started = [c for c in cells if c.metadata.get("papermill", {}).get("start_time")]
    if not started:
        return ""
    lines = started[-1].source.strip().splitlines()[:_LINES_SHOWN]
    return "\nin the cell:\n" + "\n".join(f"    {line}" for line in lines)


def _error_summary(stderr_log: IO[bytes]) -> str:
    """Return the last lines that the kernel wrote to stderr, as a part of a message."""
    stderr_log.seek(0)
    lines = stderr_log.read().decode(errors="replace").strip().splitlines()[-_LINES_SHOWN:]
    return "\nits last messages:\n" + "\n".join(f"    {line}" for line in lines) if lines else ""
