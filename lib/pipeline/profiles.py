"""Reads a profile: a YAML file of `notebooks/params` with values for the notebooks' parameters."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from lib.pipeline.notebooks import ParameterError


class _ProfileLoader(yaml.SafeLoader):
    """Reads `1e-3` as a number too, as YAML 1.2 does."""


_ProfileLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+[eE][-+]?\d+$"), list("-+0123456789")
)


def load_profile(path: Path) -> dict[str, dict[str, Any]]:
    """Return the sections of a YAML profile: `common` and one per notebook, each name to value.

    Raises:
        ParameterError: no such profile, not YAML, or not sections of names.
    """
    if not path.is_file():
        others = ", ".join(sorted(p.stem for p in path.parent.glob("*.yaml"))) or "none"
        raise ParameterError(f"no profile {path.stem!r} in {path.parent}; there is: {others}")
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _ProfileLoader) or {}
    except yaml.YAMLError as error:
        raise ParameterError(f"{path}: not YAML: {error}") from None
    if not isinstance(content, dict):
        raise ParameterError(f"{path}: expected sections of `NAME: value`, got {content!r}")
    sections = {str(name): section or {} for name, section in content.items()}
    for name, section in sections.items():
        if not isinstance(section, dict):
            raise ParameterError(
                f"{path}: section {name!r}: expected `NAME: value`, got {section!r}"
            )
    return sections
