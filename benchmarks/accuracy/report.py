"""The results as JSON, as tables and as figures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

FIELDS = ("data_set", "model", "covariates", "horizon", "cutoffs")
SCORES = ("mase", "wape", "wql", "coverage_80", "seconds")


NOTE = (
    "MASE: season 7, scale of the days before the first cutoff, mean over series. WQL over seven "
    "levels. Seconds are processor seconds of one thread, fit and forecasts. SeasonalNaive, "
    "WeekdayMedian, AutoETS and AutoTheta look at (or are fitted on) all days before each cutoff; "
    "the others are fitted once, on the days before the first cutoff."
)
OURS, PEER = "#c2410c", "#94a3b8"


def write_report(rows: list[dict[str, Any]], out: Path) -> str:
    """Write results.json, table.md and mase.png; return the table."""
    out.mkdir(parents=True, exist_ok=True)
    rows = [{name: row[name] for name in (*FIELDS, *SCORES)} for row in rows]
    (out / "results.json").write_text(json.dumps(rows, indent=1) + "\n")
    table = pd.DataFrame(rows)
    sections = [_section(str(name), t) for name, t in table.groupby("data_set")]
    text = "\n\n".join([NOTE, *_ranks(table), *sections])
    (out / "table.md").write_text(text + "\n")
    _draw(table).savefig(out / "mase.png", dpi=110)
    return text + "\n"


def _section(name: str, table: pd.DataFrame) -> str:
    cutoffs = table["cutoffs"].iloc[0]
    times = f"{cutoffs} cutoffs" if cutoffs > 1 else "1 cutoff"
    lines = [f"### {name}: {table['horizon'].iloc[0]} days, {times}", ""]
    lines += ["| model | covariates | MASE | WAPE % | WQL % | 80 % covers | seconds |"]
    lines += ["|---|---|---|---|---|---|---|"]
    for row in table.sort_values("mase").to_dict("records"):
        cells = [row["model"], "yes" if row["covariates"] else "no", f"{row['mase']:.3f}"]
        cells += [f"{row['wape']:.2f}", f"{row['wql']:.2f}", f"{row['coverage_80']:.1f}"]
        lines.append("| " + " | ".join([*cells, f"{row['seconds']:.0f}"]) + " |")
    return "\n".join(lines)


def _ranks(table: pd.DataFrame) -> list[str]:
    """Mean rank over data sets, MASE and WQL: with the covariates where a model takes them.

    Only models that have run on every data set of the table: others would be ranked among fewer.
    """
    sections = []
    for title, rows in (
        ("without covariates", table[~table["covariates"]]),
        ("each with the covariates it takes", table.sort_values("covariates")),
    ):
        best = rows.drop_duplicates(["data_set", "model"], keep="last")
        whole = best.groupby("model")["data_set"].nunique() == table["data_set"].nunique()
        best = best[best["model"].isin(whole.index[whole])]
        found = [
            best.pivot(index="data_set", columns="model", values=metric).rank(axis=1)
            for metric in ("mase", "wql")
        ]
        sets = ", ".join(sorted(table["data_set"].unique()))
        lines = [f"### Mean rank of MASE and WQL, {title} (1 is best; {sets})", ""]
        lines += ["| model | mean rank |", "|---|---|"]
        for model, rank in pd.concat(found).mean().sort_values().items():
            lines.append(f"| {model} | {rank:.2f} |")
        sections.append("\n".join(lines))
    return sections


def _draw(table: pd.DataFrame) -> Figure:
    """MASE of every model by data set, the better of its rows with and without covariates."""
    best = table.groupby(["data_set", "model"])["mase"].min().unstack(0)
    figure = Figure(figsize=(10, 0.8 + 1.1 * best.shape[1]), layout="constrained")
    axis = figure.subplots()
    for i, name in enumerate(best.columns):
        column = best[name].dropna().sort_values()
        axis.axhline(i, color="#e2e8f0", lw=1, zorder=0)
        for n, (model, mase) in enumerate(column.items()):
            mine = model == "ours"
            axis.scatter(mase, i, color=OURS if mine else PEER, s=60 if mine else 28, zorder=3)
            axis.annotate(
                str(model), (mase, i), rotation=35, fontsize=7, textcoords="offset points",
                xytext=(1, 5) if n % 2 else (-1, -9), va="bottom" if n % 2 else "top",
                ha="left" if n % 2 else "right", color=OURS if mine else "#475569",
            )  # fmt: skip
    axis.set(yticks=range(best.shape[1]), yticklabels=list(best.columns))
    axis.set(xlabel="MASE (season 7; lower is better)", ylim=(-0.7, best.shape[1] - 0.3))
    return figure


def write_robustness(
    rows: list[dict[str, Any]], ladders: Mapping[str, Sequence[float]], out: Path
) -> str:
    """Write robustness.md and robustness.png; return the tables. A refusal is a dash."""
    table = pd.DataFrame(rows).reindex(columns=["condition", "ladder", "value", "model", *SCORES])
    models = list(dict.fromkeys(table["model"]))
    clean = table[table["condition"] == "clean"]
    figure = Figure(figsize=(12, 3.4), layout="constrained")
    axes = figure.subplots(1, len(ladders), sharey=True)
    text = []
    for axis, (ladder, values) in zip(axes, ladders.items(), strict=True):
        own = table[(table["ladder"] == ladder) & (table["condition"] != "clean")]
        rungs = pd.concat([clean.assign(value=values[0]), own])
        found = {metric: rungs.pivot_table(index="value", columns="model", values=metric,
                 dropna=False).reindex(index=values, columns=models)
                 for metric in ("mase", "coverage_80")}  # fmt: skip
        text += [f"### {ladder}", "", "MASE, and what the 80 % interval covers (%)", ""]
        text += ["| | " + " | ".join(models) + " |", "|---|" + "---|" * len(models)]
        for value in values:
            cells = [
                "–" if pd.isna(mase) else f"{mase:.3f} ({covered:.0f})"
                for mase, covered in zip(
                    found["mase"].loc[value], found["coverage_80"].loc[value], strict=True
                )
            ]
            text.append(f"| {value:g} | " + " | ".join(cells) + " |")
        text.append("")
        for model in models:
            mine = model == "ours"
            style = {"color": OURS, "lw": 2.2} if mine else {"lw": 1.2}
            axis.plot(range(len(values)), found["mase"][model], marker="o", label=model, **style)
        axis.set_xticks(range(len(values)), [f"{value:g}" for value in values])
        axis.set_xlabel(ladder, fontsize=8)
    axes[0].set_ylabel("MASE (season 7)")
    axes[0].legend(frameon=False, fontsize=8)
    (out / "robustness.md").write_text("\n".join(text))
    figure.savefig(out / "robustness.png", dpi=110)
    return "\n".join(text)
