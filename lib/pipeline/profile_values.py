"""Returns the parameters of the notebooks, and the values that they have under a profile."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lib.pipeline.notebooks import TRAINING_STAGES, find_notebooks
from lib.pipeline.parameters import (
    RESERVED,
    Parameter,
    declared_parameters,
    resolve_parameters,
)
from lib.pipeline.profiles import load_profile
from lib.settings import NOTEBOOKS


def declared_stages(
    notebooks: Path = NOTEBOOKS, *, pattern: str = TRAINING_STAGES
) -> dict[str, dict[str, Parameter]]:
    """Return the parameters that users may set, by notebook and name.

    Args:
        notebooks: folder of the notebooks.
        pattern: of the names of the notebooks, by default those of the training.

    Raises:
        ParameterError: a declaration is wrong.
    """
    return {
        stage: {n: p for n, p in declared_parameters(path).items() if n != RESERVED}
        for stage, path in find_notebooks(notebooks, pattern).items()
    }


def profile_values(
    profile: str, overrides: Mapping[str, str] | None = None, *, notebooks: Path = NOTEBOOKS
) -> dict[str, dict[str, Any]]:
    """Return every parameter of the training notebooks with its value under a profile.

    Args:
        profile: name of a YAML file in `notebooks/params`.
        overrides: text by name, before the profile's values.
        notebooks: folder of the notebooks.

    Returns:
        By notebook, such as `02_tuning`, then by name.

    Raises:
        ParameterError: no such profile, or a wrong value.

    >>> profile_values("default", {"HORIZON": "14"})["02_tuning"]["HORIZON"]
    14
    """
    declared = declared_stages(notebooks)
    values = resolve_parameters(
        declared, load_profile(notebooks / "params" / f"{profile}.yaml"), overrides or {}
    )
    return {
        stage: {name: parameter.value for name, parameter in parameters.items()} | values[stage]
        for stage, parameters in declared.items()
    }
