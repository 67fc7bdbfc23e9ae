"""Executes one notebook with papermill in a kernel of this very interpreter, and draws its HTML.

Apart from `pipeline`, which every notebook imports, because papermill takes a second to import.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import nbformat
import papermill
import psutil
from jinja2 import DictLoader
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbconvert import HTMLExporter
from papermill.exceptions import PapermillExecutionError

from lib.pipeline.stages import StageError

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


def execute_notebook(
    notebook: Path,
    output: Path,
    values: Mapping[str, Any],
    *,
    run: Path,
    environment: Mapping[str, str],
    progress: bool,
) -> None:
    """Run `notebook` with `values` injected, saving it to `output` after each cell.

    Args:
        notebook: the notebook; its folder becomes the kernel's working directory.
        output: where the executed notebook goes, also when it fails.
        values: name → value of parameters.
        run: the run folder; no process of an earlier kernel for it is left alive.
        environment: variables for the kernel, over the ones it inherits.
        progress: show a bar on stderr.

    Raises:
        StageError: a cell raised, or the kernel died.
        KeyboardInterrupt: the run was interrupted; the kernel is gone.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    for name in ("papermill", "papermill.translators"):
        logging.getLogger(name).addFilter(_checked_already)
    bar = {"desc": notebook.stem, "unit": "cell", "file": sys.stderr, "leave": False}
    stop_stale_kernels(run)
    said = tempfile.TemporaryFile()  # noqa: SIM115  (open until the error is worded)
    try:
        with (
            tempfile.TemporaryDirectory(prefix="kernel-", ignore_cleanup_errors=True) as sockets,
            _interrupts(_kernels({**environment, _MARK: str(run)}, Path(sockets), said)) as kernels,
        ):
            papermill.execute_notebook(
                notebook,
                output,
                dict(values),
                kernel_name="python3",
                language="python",
                progress_bar=bar if progress else False,
                cwd=notebook.parent,
                kernel_manager_class=kernels,
            )
    except PapermillExecutionError as error:
        raise StageError(_describe(error)) from None
    except RuntimeError as error:  # DeadKernelError, or a kernel that never answered
        raise StageError(
            f"the kernel died: {error}{_last_cell(output)}{_error_summary(said)}\n"
            "A process that is killed without a message has often run out of memory."
        ) from error
    finally:
        said.close()
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
    """Kill what is left of kernels that ran for the folder `run`, with their children.

    Call it only while holding the run's lock: then nothing of the kind can be in use.
    """
    for process in psutil.process_iter():
        try:
            if process.environ().get(_MARK) == str(run) and process.pid != os.getpid():
                process.kill()
        except psutil.Error:
            continue  # gone, or another user's


class _Kernels(AsyncKernelManager):
    """Starts kernels on sockets in the file system, and ends them at once after an interrupt.

    TCP ports are chosen before they are bound, so two runs may choose the same one. What a kernel
    says outside of its cells, such as tornado's complaints while it ends, goes to the file `said`:
    standard error is for the run's own JSON lines.
    """

    interrupted = False
    said: IO[bytes]

    async def _async_pre_start_kernel(self, **kw: Any) -> tuple[list[str], dict[str, Any]]:
        command, kw = await super()._async_pre_start_kernel(**kw)
        return command, kw | {"stderr": self.said}

    pre_start_kernel = _async_pre_start_kernel

    async def _async_shutdown_kernel(self, now: bool = False, restart: bool = False) -> None:
        await super()._async_shutdown_kernel(now=now or self.interrupted, restart=restart)

    shutdown_kernel = _async_shutdown_kernel

    async def _async_interrupt_kernel(self) -> None:
        """Do nothing: before a shutdown an idle kernel would only complain of it on stderr."""

    interrupt_kernel = _async_interrupt_kernel


def _kernels(
    environment: Mapping[str, str], sockets: Path, complaints: IO[bytes]
) -> type[_Kernels]:
    # A kernelspec named python3 may be missing, or be another installation's: none is looked up.
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = KernelSpec(
        argv=[*argv, "--HistoryManager.enabled=False"],  # its SQLite file is shared by all kernels
        display_name="Python 3",
        language="python",
        env=dict(environment),
    )

    class ThisPython(KernelSpecManager):
        def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
            return spec

    class Manager(_Kernels):
        said = complaints

        def _connection_file_default(self) -> str:
            return str(sockets / "kernel.json")

        def _transport_default(self) -> str:
            return "ipc"

        def _kernel_spec_manager_default(self) -> KernelSpecManager:
            return ThisPython(parent=self)

    return Manager


@contextmanager
def _interrupts(kernels: type[_Kernels]) -> Generator[type[_Kernels]]:
    """Make SIGINT and SIGTERM a KeyboardInterrupt, once, so that cleaning up is not cut off."""

    def interrupt(number: int, frame: object) -> None:
        if not kernels.interrupted:
            kernels.interrupted = True
            raise KeyboardInterrupt

    numbers = (signal.SIGINT, signal.SIGTERM)
    try:
        before = [signal.signal(number, interrupt) for number in numbers]
    except ValueError:  # not the main thread, which is where signals arrive
        yield kernels
        return
    try:
        yield kernels
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _checked_already(entry: logging.LogRecord) -> bool:
    # papermill's reader of the parameters cell knows less than ours, which has checked them.
    return not str(entry.msg).startswith(("Passed unknown parameter", "Unable to parse line"))


def _describe(error: PapermillExecutionError) -> str:
    lines = error.source.strip().splitlines()
    shown = "\n".join(f"    {line}" for line in lines[:_LINES_SHOWN])
    more = f"\n    … {len(lines) - _LINES_SHOWN} more lines" if len(lines) > _LINES_SHOWN else ""
    return f"cell In [{error.exec_count}] failed:\n{shown}{more}\n{error.ename}: {error.evalue}"


def _last_cell(output: Path) -> str:
    try:
        cells = nbformat.read(output, as_version=4).cells
    except (OSError, ValueError, nbformat.validator.NotebookValidationError):
        return ""
    started = [c for c in cells if c.metadata.get("papermill", {}).get("start_time")]
    if not started:
        return ""
    lines = started[-1].source.strip().splitlines()[:_LINES_SHOWN]
    return "\nin the cell:\n" + "\n".join(f"    {line}" for line in lines)


def _error_summary(said: IO[bytes]) -> str:
    said.seek(0)
    lines = said.read().decode(errors="replace").strip().splitlines()[-_LINES_SHOWN:]
    return "\nit last said:\n" + "\n".join(f"    {line}" for line in lines) if lines else ""
