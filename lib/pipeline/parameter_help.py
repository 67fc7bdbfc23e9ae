"""Describes the parameters of the notebooks: text for `--help`, Markdown for the documentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lib.pipeline.notebooks import EVERY_STAGE
from lib.pipeline.parameters import resolve_parameters
from lib.pipeline.profile_values import declared_stages
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
    known = declared_stages(notebooks)
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


def describe_notebook(notebooks: Path, pattern: str) -> str:
    """Return a line for each parameter of a notebook that runs on a finished training."""
    parameters = declared_stages(notebooks, pattern=pattern).values()
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
    training = declared_stages(notebooks)
    values = {
        profile: resolve_parameters(
            training, load_profile(notebooks / "params" / f"{profile}.yaml"), {}
        )
        for profile in profiles
    }
    header = ["Parameter", "Notebook", "Type", *profiles, "Meaning"]
    rows = [header, ["---"] * len(header)]
    for stage, parameters in declared_stages(notebooks, pattern=EVERY_STAGE).items():
        for name, parameter in parameters.items():
            shown = [values[p].get(stage, {}).get(name, parameter.value) for p in profiles]
            kind = ", ".join(filter(None, (f"`{parameter.type_name}`", parameter.bounds)))
            rows.append([f"`{name}`", stage, kind, *map(_as_code, shown), parameter.comment])
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in escaped)


def _as_code(value: Any) -> str:
    return f"`{value}`" if value != "" else "(empty)"
