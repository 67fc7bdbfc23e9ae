"""The committed model with ranks beside it, as a model of format 2 has them."""

import json
import shutil

import numpy as np

from lib.files import file_hash
from lib.inference.artifact import CONTRACT, RANKS
from lib.inference.ranks import CODES, Ranks, normal_scores
from tests.panels import TINY_MODEL


def make_ranks(ids, *, horizon, origins=60, correlation=0.5, persistence=0.1, seed=0):
    """Ranks whose days and series correlate."""
    rng = np.random.default_rng(seed)
    common = rng.standard_normal((origins, 1, 1))
    own = rng.standard_normal((origins, len(ids), horizon))
    scores = np.sqrt(correlation) * common + np.sqrt(1 - correlation) * own
    ranked = normal_scores((np.arange(origins) + 0.5) / origins)[scores.argsort(0).argsort(0)]
    return Ranks(tuple(ids), np.rint(ranked * CODES).astype(np.int8), persistence, 0.5)


def ranked_model(folder, ids=("a", "b"), horizon=3):
    """Write the committed model with ranks to a folder, and return the folder."""
    shutil.copytree(TINY_MODEL, folder)
    make_ranks(ids, horizon=horizon).write(folder / RANKS)
    contract = json.loads((folder / CONTRACT).read_text())
    contract["format_version"] = 2
    contract["sha256"][RANKS] = file_hash(folder / RANKS)
    (folder / CONTRACT).write_text(json.dumps(contract))
    return folder
