"""Describes the parameters of the notebooks: text for `--help`, Markdown for the documentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lib.pipeline.notebooks import MONITORING_STAGE, TRAINING_STAGES, find_notebooks
from lib.pipeline.parameters import (
    RESERVED,
    Parameter,
    declared_parameters,
    resolve_parameters,
)
from lib.pipeline.profiles import load_profile
from lib.settings import NOTEBOOKS


def describe_training(notebooks: Path, profile: str, overrides: Mapping[str, str]) -> str:
    """Return a line for each parameter of the training notebooks, with its value in a profile.

    Args:
        notebooks: folder of the notebooks.
        profile: name of the profile.
        overrides: values that the command sets itself, before those of the profile.

    Raises:
        ParameterError: no such profile, or it names a parameter that no notebook has.
    """
    known = _declared(notebooks, TRAINING_STAGES)
    names = {name for parameters in known.values() for name in parameters}
    values = resolve_parameters(
        known,
        load_profile(notebooks / "params" / f"{profile}.yaml"),
        {name: value for name, value in overrides.items() if name in names},
    )
    lines = []
    for stage, parameters in known.items():
        lines.append(f"parameters of {stage}, with their values under {profile}:")
        lines += [
            f"  {replace(parameter, default=repr(values[stage].get(name, parameter.value)))}"
            for name, parameter in parameters.items()
        ]
    return "\n".join(lines)


def describe_monitoring(notebooks: Path) -> str:
    """Return a line for each parameter of the monitoring notebook."""
    parameters = _declared(notebooks, MONITORING_STAGE).values()
    lines = [f"  {parameter}" for each in parameters for parameter in each.values()]
    return "\n".join(["parameters:", *lines])


def parameters_table(
    notebooks: Path = NOTEBOOKS, profiles: Sequence[str] = ("ci", "default", "thorough")
) -> str:
    """Return a Markdown table of all notebook parameters: type, bounds, values and meaning.

    Args:
        notebooks: folder of the notebooks.
        profiles: names of the profiles, a column each.

    Raises:
        ParameterError: a profile is missing or wrong.
    """
    training = _declared(notebooks, TRAINING_STAGES)
    values = {
        profile: resolve_parameters(
            training, load_profile(notebooks / "params" / f"{profile}.yaml"), {}
        )
        for profile in profiles
    }
    header = ["Parameter", "Notebook", "Type", *profiles, "Meaning"]
    rows = [header, ["---"] * len(header)]
    for stage, parameters in (training | _declared(notebooks, MONITORING_STAGE)).items():
        for name, parameter in parameters.items():
            shown = [values[p].get(stage, {}).get(name, parameter.value) for p in profiles]
            kind = ", ".join(filter(None, (f"`{parameter.type_name}`", parameter.bounds)))
            rows.append([f"`{name}`", stage, kind, *map(_as_code, shown), parameter.comment])
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in escaped)


def _declared(notebooks: Path, pattern: str) -> dict[str, dict[str, Parameter]]:
    return {
        stage: {n: p for n, p in declared_parameters(path).items() if n != RESERVED}
        for stage, path in find_notebooks(notebooks, pattern).items()
    }


def _as_code(value: Any) -> str:
    return f"`{value}`" if value != "" else "(empty)"
