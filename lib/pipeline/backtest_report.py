"""The page of a backtest: a short summary above the executed notebook."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from lib.pipeline.score_table import COLUMNS, NAMES, Scores, format_score, is_best

STYLE = (
    "max-width: 60rem; margin: 2rem auto; padding: 0 1.5rem 1.5rem; line-height: 1.45; "
    "font-family: system-ui, sans-serif; color: #17212b; background: #fff; "
    "border-bottom: 1px solid #dde2e0"
)
CELL = "padding: 0.25rem 1.25rem 0.25rem 0; text-align: "
MAX_LEFT_OUT = 20


def add_summary(
    page: str,
    *,
    title: str,
    scores: Scores,
    verdict: str,
    left_out: Sequence[Mapping[str, Any]],
    notes: Sequence[str] = (),
    notebook: bool = True,
) -> str:
    """Return the page of a notebook with a summary as the first thing in its body.

    Args:
        page: HTML.
        title: what was judged.
        scores: by forecast and metric, ours first.
        verdict: a sentence.
        left_out: series_id and reason of what is not scored in full.
        notes: what a reader of the scores should know, a sentence each.
        notebook: whether the page is that of an executed notebook.
    """
    parts = [
        f'<section style="{STYLE}">',
        f"<h1>{escape(title)}</h1>",
        f"<p><strong>{escape(verdict)}</strong></p>",
        *(f"<p>{escape(note)}</p>" for note in notes),
        _score_rows(scores),
        "<p>Lower is better; of the 80 % interval 80 % of the days should be inside. "
        '<a href="metrics.json">metrics.json</a> has the numbers, '
        '<a href="verdict.json">verdict.json</a> the comparison, and '
        "forecasts.parquet each forecast.</p>",
        '<p><img src="backtest.png" alt="MASE of each forecast by day of the horizon" '
        'style="max-width: 100%"></p>',
        *_left_out_list(left_out),
        "<p>How these figures were made: the executed notebook follows.</p>" if notebook else "",
        "</section>",
    ]
    summary = "\n".join(parts)
    found = re.search(r"<body[^>]*>", page)
    at = found.end() if found else 0
    return f"{page[:at]}\n{summary}\n{page[at:]}"


def _score_rows(scores: Scores) -> str:
    head = "".join(f'<th style="{CELL}right">{escape(title)}</th>' for title in COLUMNS.values())
    rows = [f'<tr><th style="{CELL}left">forecast</th>{head}</tr>']
    for forecast, values in scores.items():
        cells = []
        for metric in COLUMNS:
            text = format_score(values.get(metric))
            text = f"<strong>{text}</strong>" if is_best(scores, forecast, metric) else text
            cells.append(f'<td style="{CELL}right">{text}</td>')
        name = escape(NAMES.get(forecast, forecast))
        rows.append(f'<tr><td style="{CELL}left">{name}</td>{"".join(cells)}</tr>')
    return f'<table style="border-collapse: collapse">{"".join(rows)}</table>'


def _left_out_list(left_out: Sequence[Mapping[str, Any]]) -> list[str]:
    if not left_out:
        return []
    items = "".join(
        f"<li>{escape(str(one['series_id']))}: {escape(str(one['reason']))}</li>"
        for one in left_out[:MAX_LEFT_OUT]
    )
    more = len(left_out) - MAX_LEFT_OUT
    tail = f"<p>and {more} more, in verdict.json.</p>" if more > 0 else ""
    return [f"<h2>Not scored in full</h2><ul>{items}</ul>{tail}"]
