"""The committed model with covariates in its contract, as a model that has learned them."""

import json
import shutil

from lib.inference.artifact import CONTRACT
from tests.panels import TINY_MODEL


def described(name, role, kind, labels=(), calendar=""):
    """A covariate as a contract describes it."""
    return {
        "name": name,
        "role": role,
        "kind": kind,
        "labels": list(labels),
        "calendar": calendar,
    }


DESCRIBED = [
    described("price", "known", "number"),
    described("promo", "known", "event"),
    described("weather", "known", "category", ["Rain", "Sun"]),
    described("holiday", "known", "holiday", [""], "BR:SP"),
    described("visits", "past", "number"),
    described("region", "static", "category", ["north", "south"]),
]


def model_with_covariates(folder, covariates=DESCRIBED):
    """Write the committed model with covariates to a folder, and return the folder."""
    return add_covariates(shutil.copytree(TINY_MODEL, folder), covariates)


def add_covariates(folder, covariates=DESCRIBED):
    """Name covariates in the contract of a model folder, and return the folder."""
    values = json.loads((folder / CONTRACT).read_text())
    values["settings"]["covariates"] = covariates
    (folder / CONTRACT).write_text(json.dumps(values))
    return folder
