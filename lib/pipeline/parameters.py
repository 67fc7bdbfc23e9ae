"""What a notebook's parameters cell declares, and values checked against it before anything runs.

The declarations are read with Python's own parser (papermill's reader drops a line with a second
`=` in it, and passes a name it does not know on with no more than a warning).
"""

from __future__ import annotations

import ast
import difflib
import io
import json
import re
import tokenize
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

RESERVED = "RUN_DIR"
_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


class ParameterError(ValueError):
    """A parameter is unknown, ill-typed or badly declared; the message lists every fault."""


@dataclass(frozen=True)
class Parameter:
    """One declared parameter: `NAME: type = default  # help`, the last three as source text.

    A help text that says `at least 1` is kept to.
    """

    name: str
    type: str
    default: str
    help: str

    @property
    def value(self) -> Any:
        """The default as a value, or its source text where that is an expression."""
        try:
            return ast.literal_eval(self.default)
        except ValueError:
            return self.default

    @property
    def least(self) -> float | None:
        """The smallest number that the help text allows, if it says one."""
        found = re.search(r"\bat least (-?\d+(\.\d+)?)", self.help)
        return float(found[1]) if found else None

    def __str__(self) -> str:
        line = f"{self.name}: {self.type} = {self.default}"
        return f"{line}  # {self.help}" if self.help else line


def read_notebook(path: Path) -> list[dict[str, Any]]:
    """Return the code cells of the notebook at `path` as `{"source": str, "tags": [str]}`.

    Raises:
        ParameterError: the file is not there or is not a notebook.
    """
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        return [
            {"source": "".join(cell["source"]), "tags": cell["metadata"].get("tags", [])}
            for cell in cells
            if cell["cell_type"] == "code"
        ]
    except FileNotFoundError:
        raise ParameterError(f"no notebook {path}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise ParameterError(
            f"{path}: expected a Jupyter notebook (format 4), got {error}"
        ) from None


def declared_parameters(path: Path) -> dict[str, Parameter]:
    """Return the parameters that the cell tagged `parameters` declares, by name.

    Raises:
        ParameterError: the cell does not parse, or a parameter has no type annotation.
    """
    found: dict[str, Parameter] = {}
    for cell in read_notebook(path):
        if "parameters" not in cell["tags"]:
            continue
        try:
            nodes = ast.parse(cell["source"]).body
        except SyntaxError as error:
            raise ParameterError(
                f"{path}: parameters cell, line {error.lineno}: {error.msg}"
            ) from None
        comments = _comments(cell["source"])
        for node in nodes:
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
                name, default = node.target.id, ast.unparse(node.value)
                help_text = comments.get(node.end_lineno or node.lineno, "")
                found[name] = Parameter(name, ast.unparse(node.annotation), default, help_text)
            elif isinstance(node, ast.Assign):
                raise ParameterError(
                    f"{path}: parameters cell, line {node.lineno}: `{ast.unparse(node)}` has no "
                    "type, expected `NAME: type = value  # unit`"
                )
    return found


def load_profile(path: Path) -> dict[str, dict[str, Any]]:
    """Return the sections of a YAML profile: `common` and one per notebook, each name to value.

    Raises:
        ParameterError: no such profile, not YAML, or not sections of names.
    """
    if not path.is_file():
        others = ", ".join(sorted(p.stem for p in path.parent.glob("*.yaml"))) or "none"
        raise ParameterError(f"no profile {path.stem!r} in {path.parent}; there is: {others}")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
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


def resolve_parameters(
    known: Mapping[str, Mapping[str, Parameter]],
    profile: Mapping[str, Mapping[str, Any]],
    overrides: Mapping[str, str],
) -> dict[str, dict[str, Any]]:
    """Return the values to inject in each notebook: overrides before its section before `common`.

    Args:
        known: the declared parameters of each notebook.
        profile: the sections of the profile, `common` and one per notebook.
        overrides: text from the command line; goes to every notebook that declares the name.

    Raises:
        ParameterError: names every unknown or ill-typed parameter, and lists what is allowed.
    """
    problems: list[str] = []
    everywhere = {name for parameters in known.values() for name in parameters} - {RESERVED}
    for section in profile:
        if section != "common" and section not in known:
            problems.append(_unknown("section", section, ["common", *known]))
    places = [
        ("", everywhere, overrides),
        ("common: ", everywhere, profile.get("common", {})),
        *((f"{n}: ", set(p) - {RESERVED}, profile.get(n, {})) for n, p in known.items()),
    ]
    for place, allowed, values in places:
        for name in values:
            if name == RESERVED:
                problems.append(f"{place}{RESERVED} is set by the runner; use --run-dir DIR")
            elif name not in allowed:
                problems.append(place + _unknown("parameter", str(name), sorted(allowed)))

    resolved: dict[str, dict[str, Any]] = {}
    for notebook, parameters in known.items():
        values = {**profile.get("common", {}), **profile.get(notebook, {})}
        resolved[notebook] = {}
        for name, parameter in parameters.items():
            if name == RESERVED or (name not in overrides and name not in values):
                continue
            text = name in overrides
            try:
                value = convert(
                    overrides[name] if text else values[name], parameter.type, text=text
                )
            except ValueError as error:
                problems.append(f"{name} of {notebook}: {error}")
                continue
            least = parameter.least
            if least is not None and isinstance(value, int | float) and value < least:
                problems.append(f"{name} of {notebook}: expected at least {least:g}, got {value}")
            resolved[notebook][name] = value
    if problems:
        lines = {
            str(p): None for each in known.values() for p in each.values() if p.name != RESERVED
        }
        allowed = "".join(f"\n  {line}" for line in sorted(lines))
        # the problem last: a terminal shows the end of what is printed
        raise ParameterError(f"The parameters are:{allowed}\n" + "\n".join(dict.fromkeys(problems)))
    return resolved


def convert(value: Any, annotation: str, *, text: bool) -> Any:
    """Return `value` as the annotated type.

    Known are int, float, bool, str, None, list, tuple, dict, Literal and unions of them. `text`
    says that it comes from a command line, where a list may be written `1,2` or `[1, 2]`.

    Raises:
        ValueError: it is not of that type.
    """
    try:
        return _convert(value, ast.parse(annotation.strip("'\""), mode="eval").body, text)
    except (ValueError, TypeError, SyntaxError):
        raise ValueError(f"expected {annotation}, got {value!r}") from None


def _convert(value: Any, kind: ast.expr, text: bool) -> Any:
    if isinstance(kind, ast.BinOp):  # a union; str takes everything, so it is asked last
        sides = sorted((kind.left, kind.right), key=lambda side: ast.unparse(side) == "str")
        try:
            return _convert(value, sides[0], text)
        except (ValueError, TypeError, SyntaxError):
            return _convert(value, sides[1], text)
    if isinstance(kind, ast.Subscript):
        return _container(value, kind, text)
    name = ast.unparse(kind)
    if name == "None":
        return _only(None, value is None or (text and value.lower() in ("", "none", "null")))
    if name == "str":
        return _only(value, isinstance(value, str))
    if name == "bool":
        return (
            _WORDS[value.lower()]
            if text and value.lower() in _WORDS
            else _only(value, isinstance(value, bool))
        )
    if name == "int":
        return int(value) if text else _only(value, type(value) is int)
    if name == "float":  # YAML reads 1e-3 as text
        if isinstance(value, bool):
            raise ValueError(value)
        return float(value)
    if name in ("list", "dict", "tuple"):
        value = ast.literal_eval(value) if text else value
        return _only(value, type(value).__name__ == name)
    raise ValueError(f"type {name} is not supported")


def _container(value: Any, kind: ast.Subscript, text: bool) -> Any:
    outer = ast.unparse(kind.value)
    inner = kind.slice.elts if isinstance(kind.slice, ast.Tuple) else [kind.slice]
    if outer == "Literal":
        choices = [ast.literal_eval(choice) for choice in inner]
        matches = [c for c in choices if c == value or (text and str(c) == value)]
        return _only(matches[0] if matches else None, bool(matches))
    if text and value.strip()[:1] in ("[", "(", "{"):
        value, text = ast.literal_eval(value), False
    elif text and outer != "dict":
        value = [part.strip() for part in value.split(",") if part.strip()]
    if outer == "dict":
        if not isinstance(value, dict):
            raise ValueError(value)
        pairs = value.items()
        return {_convert(k, inner[0], False): _convert(v, inner[1], False) for k, v in pairs}
    _only(value, outer in ("list", "tuple") and isinstance(value, (list, tuple)))
    if outer == "tuple" and ast.unparse(inner[-1]) != "...":
        _only(value, len(value) == len(inner))
        return tuple(_convert(item, each, text) for item, each in zip(value, inner, strict=True))
    items = [_convert(item, inner[0], text) for item in value]
    return items if outer == "list" else tuple(items)


def _only(value: Any, condition: bool) -> Any:
    if not condition:
        raise ValueError(value)
    return value


def _unknown(what: str, name: str, allowed: list[str]) -> str:
    close = difflib.get_close_matches(name.upper() if what == "parameter" else name, allowed, n=1)
    return f"unknown {what} {name!r}" + (f": did you mean {close[0]}?" if close else "")


def _comments(source: str) -> dict[int, str]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {t.start[0]: t.string.lstrip("# ") for t in tokens if t.type == tokenize.COMMENT}
