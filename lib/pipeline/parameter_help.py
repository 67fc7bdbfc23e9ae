"""Describes the parameters of the notebooks, for `--help`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from lib.pipeline.parameters import resolve_parameters
from lib.pipeline.profile_values import declared_stages
from lib.pipeline.profiles import load_profile


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
