"""The results as JSON, as tables and as figures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

FIELDS = ("data_set", "model", "covariates", "horizon", "cutoffs")
SCORES = ("mase", "wape", "wql", "coverage_80", "seconds")


NOTE = (
    "MASE: season 7, scale of the days before the first cutoff, mean over series. WQL over seven "
    "levels. Seconds are processor seconds of one thread, fit and forecasts; ours with "
    "the notebooks' kernels and their figures. SeasonalNaive, WeekdayMedian, AutoETS and AutoTheta "
    "look at (or are fitted on) all days before each cutoff; the others are fitted once, on the "
    "days before the first cutoff."
)
OURS = "#c2410c"


def write_report(rows: list[dict[str, Any]], out: Path) -> str:
    """Write results.json, table.md, mase.png and seconds.png; return the table."""
    out.mkdir(parents=True, exist_ok=True)
    rows = [{name: row[name] for name in (*FIELDS, *SCORES)} for row in rows]
    (out / "results.json").write_text(json.dumps(rows, indent=1) + "\n")
    table = pd.DataFrame(rows)
    sections = [_section(str(name), t) for name, t in table.groupby("data_set")]
    ranks = _ranks(table[~table["model"].str.startswith("ours-")])
    text = "\n\n".join([NOTE, *ranks, *_against_seconds(table), *sections])
    (out / "table.md").write_text(text + "\n")
    _draw(table).savefig(out / "mase.png", dpi=110)
    _draw_seconds(table).savefig(out / "seconds.png", dpi=110)
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


def _against_seconds(table: pd.DataFrame) -> list[str]:
    """What more time buys: on all data sets, and on those that most models have run."""
    sets = [sorted(table["data_set"].unique())]
    most = table.groupby("data_set")["model"].nunique()
    sets.append(sorted(most.index[most == most.max()]))
    sections = []
    for names in sets if sets[0] != sets[1] else sets[:1]:
        means = relative_to_seasonal_naive(table[table["data_set"].isin(names)])
        lines = [f"### Accuracy against seconds ({', '.join(names)})", ""]
        lines += ["Geometric means, each model with the covariates that it takes.", ""]
        lines += [
            "| model | seconds | WQL, relative to SeasonalNaive | no model as fast is better |"
        ]
        lines += ["|---|---|---|---|"]
        best = np.inf
        for model, row in means.sort_values("seconds").iterrows():
            ahead, best = row["wql"] < best, min(best, float(row["wql"]))
            told = f"| {model} | {row['seconds']:.1f} | {row['wql']:.3f} |"
            lines.append(f"{told} {'yes' if ahead else ''} |")
        sections.append("\n".join(lines))
    return sections


def _draw(table: pd.DataFrame) -> Figure:
    """MASE of every model against the best of each data set, by its better row of the two."""
    best = table.groupby(["model", "data_set"])["mase"].min().unstack()
    relative = best / best.min()
    order = relative.mean(axis=1).sort_values(ascending=False).index
    figure = Figure(figsize=(9, 1.2 + 0.36 * len(order)), layout="constrained")
    axis = figure.subplots()
    markers = dict(zip(relative.columns, "osD^vPX*<>", strict=False))
    for name, marker in markers.items():
        column = relative.loc[order, name]
        axis.plot(column, range(len(order)), ls="", marker=marker, ms=7, alpha=0.8, label=name)
    for i, model in enumerate(order):
        axis.axhline(i, color=OURS if model == "ours" else "#e2e8f0", lw=1, alpha=0.5, zorder=0)
    axis.axvline(1, color="#1f2933", lw=0.8, ls=":")
    axis.set(yticks=range(len(order)), yticklabels=list(order))
    axis.set(xlabel="MASE, relative to the best of the data set (1 is best)")
    axis.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def relative_to_seasonal_naive(table: pd.DataFrame) -> pd.DataFrame:
    """Return WQL and processor seconds of each model that has run on every data set.

    Each with the covariates that it takes.

    Returns:
        Indexed by model: wql, the geometric mean of the ratio to SeasonalNaive, and seconds, the
        geometric mean, at least 0.1.
    """
    best = table.sort_values("covariates").drop_duplicates(["data_set", "model"], keep="last")
    wql = best.pivot(index="model", columns="data_set", values="wql").dropna()
    seconds = best.pivot(index="model", columns="data_set", values="seconds").loc[wql.index]
    ratio = wql / wql.loc["SeasonalNaive"] if "SeasonalNaive" in wql.index else wql / wql.min()
    means = {"wql": np.log(ratio), "seconds": np.log(seconds.clip(lower=0.1))}
    return pd.DataFrame({name: np.exp(logs.mean(axis=1)) for name, logs in means.items()})


def _draw_seconds(table: pd.DataFrame) -> Figure:
    """WQL against processor seconds: what more time buys, and from whom."""
    means = relative_to_seasonal_naive(table)
    figure = Figure(figsize=(7, 4), layout="constrained")
    axis = figure.subplots()
    for model, row in means.iterrows():
        color = OURS if str(model).startswith("ours") else "#475569"
        axis.plot(row["seconds"], row["wql"], marker="o", ms=7, color=color)
        place = (float(row["seconds"]), float(row["wql"]))
        offset = {"xytext": (6, 4), "textcoords": "offset points"}
        axis.annotate(str(model), place, fontsize=8, color=color, **offset)
    axis.set_xscale("log")
    axis.margins(x=0.12)
    axis.set(
        xlabel="processor seconds a data set (geometric mean)",
        ylabel="WQL, relative to SeasonalNaive",
    )
    axis.grid(color="#e2e8f0")
    axis.set_axisbelow(True)
    return figure


def write_robustness(
    rows: list[dict[str, Any]], ladders: Mapping[str, Sequence[float]], out: Path
) -> str:
    """Write robustness.md and robustness.png; return the tables. A refusal is a dash."""
    table = pd.DataFrame(rows).reindex(columns=["condition", "ladder", "value", "model", *SCORES])
    models = list(dict.fromkeys(table["model"]))
    clean = table[table["condition"] == "clean"]
    figure = Figure(figsize=(12, 3.4), layout="constrained")
    axes = figure.subplots(1, len(ladders))
    text = []
    for axis, (ladder, values) in zip(axes, ladders.items(), strict=True):
        own = table[(table["ladder"] == ladder) & (table["condition"] != "clean")]
        rungs = pd.concat([clean.assign(value=values[0]), own])
        found = {metric: rungs.pivot_table(index="value", columns="model", values=metric,
                 dropna=False).reindex(index=values, columns=models)
                 for metric in ("mase", "coverage_80")}  # fmt: skip
        told = (
            "MASE, and what the 80 % interval covers (%). Ours and LightGBM know events and factor"
        )
        text += [f"### {ladder}", "", f"{told} of the days ahead; the others take none.", ""]
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
            style = {"lw": 1.2}
            if model.startswith("ours"):
                style = {"color": OURS, "lw": 2.2, "ls": "-" if model == "ours" else "--"}
            axis.plot(range(len(values)), found["mase"][model], marker="o", label=model, **style)
        axis.set_xticks(range(len(values)), [f"{value:g}" for value in values])
        axis.set_xlabel(ladder, fontsize=8)
        axis.set_ylim(0, None)
    axes[0].set_ylabel("MASE (season 7)")
    axes[0].legend(frameon=False, fontsize=8)
    (out / "robustness.md").write_text("\n".join(text))
    figure.savefig(out / "robustness.png", dpi=110)
    return "\n".join(text)
