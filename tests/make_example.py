"""Make the page's built-in example again: `make example`. The same seed gives the same file.

Two shops over fourteen months, and what is known of the four weeks after: rows without a value.
"""

import json

import numpy as np

from lib.data.synthesis import synthesize
from lib.data.synthesis_spec import SynthesisSpec
from lib.settings import ROOT

FILE = ROOT / "serving" / "static" / "example.json"
SPEC = SynthesisSpec(n_series=2, n_days=454, start="2025-01-01", missing=0.03)
SEED = 26
AHEAD = 28  # days
NAMES = ("Loja Centro", "Loja Norte")
HEADER = ("shop", "date", "value", "temperature", "event")


def rows() -> list[list[object]]:
    """The example's rows; None where a cell is missing."""
    panel, _ = synthesize(SPEC, SEED)
    found: list[list[object]] = []
    for i, name in enumerate(NAMES):
        part = slice(panel.offsets[i], panel.offsets[i + 1])
        values = panel.values[part].copy()
        values[-AHEAD:] = np.nan
        columns = (panel.dates[part], values, panel.factor[part], panel.event[part])
        for day, value, factor, event in zip(*columns, strict=True):
            known = None if np.isnan(value) else round(float(value), 1)
            found.append([name, str(day), known, round(float(factor), 1), round(float(event), 2)])
    return found


def text() -> str:
    """What the file holds: a row a line."""
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows())
    return f'{{"header": {json.dumps(HEADER)}, "rows": [\n{lines}\n]}}\n'


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
