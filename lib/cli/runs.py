"""The command `runs`: the registered versions as a table."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from lib.registry import Registry


def print_versions() -> None:
    """Print the versions of the registered model, the newest first."""
    registry = Registry()
    shown = registry.show()
    console = Console()
    if not shown["versions"]:
        console.print(
            f"{registry.name}: nothing is registered yet; `make train` registers"
            f"{registry.name_others()}",
            soft_wrap=True,
            markup=False,
            highlight=False,
        )
        return
    table = Table(title=registry.name, title_justify="left")
    for heading in ("version", "alias", "MASE", "WQL %", "80 % covers", "decision"):
        table.add_column(heading)
    for version in reversed(shown["versions"]):
        scores = [version["metrics"].get(name) for name in ("mase", "wql", "coverage_80")]
        table.add_row(
            str(version["version"]),
            ", ".join(version["aliases"]),
            *("" if score is None else f"{score:.3g}" for score in scores),
            version["reason"] or "",
        )
    console.print(table)
