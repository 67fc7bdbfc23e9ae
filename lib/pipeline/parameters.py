"""Reads the parameters that notebooks declare, and checks values against them before a run.

A parameters cell holds declarations such as `HORIZON: PositiveInt = 28  # days ahead`. The type
carries the bounds and pydantic checks them; the comment says what the parameter means and its
unit. Nothing in the cell is executed: a type is looked up where the notebook imports it from.
"""

from __future__ import annotations

import ast
import difflib
import importlib
import io
import json
import tokenize
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, get_origin, get_type_hints

from pydantic import PydanticUserError, TypeAdapter, ValidationError

from lib.pipeline.notebooks import ParameterError, read_notebook

RESERVED = "RUN_DIR"  # set by the runner


@dataclass(frozen=True)
class Parameter:
    """One declared parameter of a notebook.

    Attributes:
        name: its upper-case name.
        hint: the type, with the bounds that its annotation declares.
        default: source text of the default value.
        comment: what it means, with its unit.
    """

    name: str
    hint: Any
    default: str
    comment: str = ""

    @property
    def value(self) -> Any:
        """The default as a value, or its source text where that is an expression."""
        try:
            return ast.literal_eval(self.default)
        except ValueError:
            return self.default

    @property
    def type_name(self) -> str:
        """The type without its bounds, such as `int` or `Literal['auto', 'run']`."""
        hint = self.hint.__origin__ if get_origin(self.hint) is Annotated else self.hint
        return hint.__name__ if type(hint) is type else str(hint).replace("typing.", "")

    @cached_property
    def bounds(self) -> str:
        """The bounds in words, such as "at least 1" or "0 to 1"; "" without any."""
        schema = self._adapter.json_schema()
        if "description" in schema:
            return schema["description"]
        if schema.get("type") == "integer" and "exclusiveMinimum" in schema:  # as of PositiveInt
            schema["minimum"] = schema.pop("exclusiveMinimum") + 1
        if "minimum" in schema and "maximum" in schema:
            return f"{schema['minimum']:g} to {schema['maximum']:g}"
        words = {
            "minimum": "at least",
            "exclusiveMinimum": "more than",
            "maximum": "at most",
            "exclusiveMaximum": "less than",
        }
        return ", ".join(f"{word} {schema[k]:g}" for k, word in words.items() if k in schema)

    def check(self, value: Any) -> Any:
        """Return a value of a profile in the declared type.

        Raises:
            ValueError: it has another type or is out of bounds.
        """
        try:
            return self._read_literal(value)
        except (ValidationError, TypeError):
            raise self._error(value) from None

    def parse(self, text: str) -> Any:
        """Return the value that `text`, from a command line, stands for.

        A list may be written `1,2` or `[1, 2]`, a truth value `1`, `yes` or `true`.

        Raises:
            ValueError: it stands for no value of the declared type.
        """
        for literal in _literals(text):
            with suppress(ValidationError, TypeError):
                return self._read_literal(literal)
        with suppress(ValidationError):
            return self._adapter.validate_strings(text)
        with suppress(ValidationError):
            parts = [part.strip() for part in text.split(",")] if text else []
            return self._adapter.validate_python(parts)
        raise self._error(text)

    def __str__(self) -> str:
        line = f"{self.name}: {self.type_name} = {self.default}"
        remarks = "; ".join(filter(None, (self.comment, self.bounds)))
        return f"{line}  # {remarks}" if remarks else line

    @cached_property
    def _adapter(self) -> TypeAdapter[Any]:
        return TypeAdapter(self.hint)

    def _read_literal(self, value: Any) -> Any:
        # As JSON, where strict checking takes a list for a tuple and 1 for a float, but not "1".
        return self._adapter.validate_json(json.dumps(value), strict=True)

    def _error(self, value: Any) -> ValueError:
        expected = ", ".join(filter(None, (self.type_name, self.bounds)))
        return ValueError(f"expected {expected}, got {value!r}")


def declared_parameters(path: Path) -> dict[str, Parameter]:
    """Return the parameters that the cell tagged `parameters` declares, by name.

    Raises:
        ParameterError: the cell does not parse, or a parameter has no type that can be checked.
    """
    cells = read_notebook(path)
    imports = dict(_imports([cell["source"] for cell in cells]))
    parameters: dict[str, Parameter] = {}
    for cell in cells:
        if "parameters" not in cell["tags"]:
            continue
        for node, comment in _declarations(cell["source"], path):
            hint = _resolve_hint(node.annotation, imports, f"{path}: {node.target.id}")
            parameters[node.target.id] = Parameter(
                node.target.id, hint, ast.unparse(node.value), comment
            )
    return parameters


def resolve_parameters(
    known: Mapping[str, Mapping[str, Parameter]],
    profile: Mapping[str, Mapping[str, Any]],
    overrides: Mapping[str, str],
) -> dict[str, dict[str, Any]]:
    """Return the values to inject in each notebook: overrides before its section before `common`.

    Args:
        known: the declared parameters, by notebook and name.
        profile: the sections of the profile, `common` and one per notebook.
        overrides: text from the command line; goes to every notebook that declares the name.

    Raises:
        ParameterError: names every unknown or ill-typed parameter, and lists what is allowed.
    """
    problems = list(_unknown_names(known, profile, overrides))
    resolved: dict[str, dict[str, Any]] = {}
    for stage, parameters in known.items():
        section = {**profile.get("common", {}), **profile.get(stage, {})}
        resolved[stage] = {}
        for name, parameter in parameters.items():
            if name == RESERVED or (name not in overrides and name not in section):
                continue
            try:
                resolved[stage][name] = (
                    parameter.parse(overrides[name])
                    if name in overrides
                    else parameter.check(section[name])
                )
            except ValueError as error:
                place = "" if name in overrides else " in the profile"
                problems.append(f"{name} of {stage}: {error}{place}")
    if problems:
        declared = {
            str(p): None for each in known.values() for p in each.values() if p.name != RESERVED
        }
        allowed = "".join(f"\n  {line}" for line in sorted(declared))
        # The problems last: a terminal shows the end of what is printed.
        raise ParameterError(f"The parameters are:{allowed}\n" + "\n".join(dict.fromkeys(problems)))
    return resolved


def _unknown_names(
    known: Mapping[str, Mapping[str, Parameter]],
    profile: Mapping[str, Mapping[str, Any]],
    overrides: Mapping[str, str],
) -> Iterator[str]:
    """Yield a message for each section and parameter that no notebook has."""
    for section in profile:
        if section != "common" and section not in known:
            yield _unknown("section", section, ["common", *known])
    everywhere = {name for parameters in known.values() for name in parameters}
    places = [("", everywhere, overrides), ("common: ", everywhere, profile.get("common", {}))]
    places += [(f"{stage}: ", set(known[stage]), profile.get(stage, {})) for stage in known]
    for place, allowed, values in places:
        for name in values:
            if name == RESERVED:
                yield f"{place}{RESERVED} is set by the runner; use --run-dir DIR"
            elif name not in allowed:
                yield place + _unknown("parameter", str(name), sorted(allowed - {RESERVED}))


def _unknown(what: str, name: str, allowed: Sequence[str]) -> str:
    close = difflib.get_close_matches(name.upper() if what == "parameter" else name, allowed, n=1)
    return f"unknown {what} {name!r}" + (f": did you mean {close[0]}?" if close else "")


def _declarations(source: str, path: Path) -> Iterator[tuple[Any, str]]:
    """Yield each declaration of a parameters cell with the comment at its end."""
    try:
        nodes = ast.parse(source).body
    except SyntaxError as error:
        raise ParameterError(f"{path}: parameters cell, line {error.lineno}: {error.msg}") from None
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {t.start[0]: t.string.lstrip("# ") for t in tokens if t.type == tokenize.COMMENT}
    for node in nodes:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            yield node, comments.get(node.end_lineno or node.lineno, "")
        elif isinstance(node, ast.Assign):
            raise ParameterError(
                f"{path}: parameters cell, line {node.lineno}: `{ast.unparse(node)}` has no "
                "type, expected `NAME: type = value  # unit`"
            )


def _imports(sources: Sequence[str]) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield each name that the cells import, with its module and its name there ("" for itself)."""
    for source in sources:
        try:
            nodes = list(ast.walk(ast.parse(source)))
        except SyntaxError:  # a cell with a line for the shell
            continue
        for node in nodes:
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                for alias in node.names:
                    yield alias.asname or alias.name, (node.module, alias.name)
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    yield alias.asname or alias.name, (alias.name, "")


def _resolve_hint(annotation: ast.expr, imports: Mapping[str, tuple[str, str]], place: str) -> Any:
    """Return the type that an annotation names, importing nothing but what it needs."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        annotation = ast.parse(annotation.value, mode="eval").body
    text = ast.unparse(annotation)
    try:
        names = {}
        for node in ast.walk(annotation):
            if isinstance(node, ast.Name) and node.id in imports:
                module, name = imports[node.id]
                names[node.id] = importlib.import_module(module)
                if name:
                    names[node.id] = getattr(names[node.id], name)
        declaration = type("Declaration", (), {"__annotations__": {"hint": text}})
        hint = get_type_hints(declaration, {}, names, include_extras=True)["hint"]
        TypeAdapter(hint)
    except (ImportError, AttributeError, NameError, TypeError, PydanticUserError) as error:
        raise ParameterError(
            f"{place}: type {text}: {str(error).splitlines()[0]}; expected a type of Python or one "
            "that a cell imports"
        ) from None
    return hint


def _literals(text: str) -> Iterator[Any]:
    """Yield the Python value that `text` spells, unless it is a string."""
    if text.lower() in ("", "none", "null"):
        yield None
        return
    with suppress(ValueError, SyntaxError, TypeError):
        value = ast.literal_eval(text)
        if not isinstance(value, str):
            yield value
