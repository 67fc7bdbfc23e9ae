"""The results as JSON, as a table and as a figure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

FIELDS = ("data_set", "model", "covariates", "horizon", "cutoffs")
SCORES = ("mase", "wape", "wql", "coverage_80", "seconds")


def write_report(rows: list[dict[str, Any]], out: Path) -> str:
    """Write results.json, table.md and mase.png; return the table."""
    out.mkdir(parents=True, exist_ok=True)
    rows = [{name: row[name] for name in (*FIELDS, *SCORES)} for row in rows]
    (out / "results.json").write_text(json.dumps(rows, indent=1) + "\n")
    table = pd.DataFrame(rows)
    text = "\n\n".join(
        [_ranks(table), *(_section(name, t) for name, t in table.groupby("data_set"))]
    )
    (out / "table.md").write_text(text + "\n")
    _draw(table).savefig(out / "mase.png", dpi=110)
    return text + "\n"


def _section(name: str, table: pd.DataFrame) -> str:
    lines = [f"### {name}: {table['horizon'].iloc[0]} days, {table['cutoffs'].iloc[0]} cutoffs", ""]
    lines += ["| model | covariates | MASE | WAPE % | WQL % | 80 % covers | seconds |"]
    lines += ["|---|---|---|---|---|---|---|"]
    for row in table.sort_values("mase").to_dict("records"):
        cells = [row["model"], "yes" if row["covariates"] else "no", f"{row['mase']:.3f}"]
        cells += [f"{row['wape']:.2f}", _or_dash(row["wql"], 2), _or_dash(row["coverage_80"], 1)]
        lines.append("| " + " | ".join([*cells, f"{row['seconds']:.0f}"]) + " |")
    return "\n".join(lines)


def _or_dash(value: float | None, digits: int) -> str:
    return "–" if value is None or pd.isna(value) else f"{value:.{digits}f}"


def _ranks(table: pd.DataFrame) -> str:
    """Mean rank over data sets and the two metrics, rows without covariates; the same sets only."""
    plain = table[~table["covariates"]]
    lines = ["### Mean rank without covariates (MASE and WQL, 1 is best)", ""]
    lines += ["| model | mean rank | data sets |", "|---|---|---|"]
    found = []
    for metric in ("mase", "wql"):
        wide = plain.pivot_table(index="data_set", columns="model", values=metric)
        found.append(wide.rank(axis=1))
    ranks = pd.concat(found)
    for model, rank in ranks.mean().sort_values().items():
        sets = plain.loc[plain["model"] == model, "data_set"].nunique()
        lines.append(f"| {model} | {rank:.2f} | {sets} |")
    return "\n".join(lines)


def _draw(table: pd.DataFrame) -> Figure:
    best = table.groupby(["data_set", "model"])["mase"].min().unstack(0)
    figure = Figure(figsize=(9, 1 + 0.9 * best.shape[1] + 1.2), layout="constrained")
    axis = figure.subplots()
    for i, name in enumerate(best.columns):
        column = best[name].dropna()
        axis.scatter(column, [i] * len(column), color="#94a3b8", s=30)
        for model in column.index:
            if model == "ours":
                axis.scatter(column[model], i, color="#c2410c", s=60, zorder=3)
            axis.annotate(
                model, (column[model], i), rotation=45, fontsize=7, xytext=(2, 4),
                textcoords="offset points",
            )  # fmt: skip
    axis.set(yticks=range(best.shape[1]), yticklabels=list(best.columns), xlabel="MASE (season 7)")
    axis.set_ylim(-0.6, best.shape[1] - 0.1)
    return figure
