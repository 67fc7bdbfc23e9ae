"""Collect the code that a registered model runs, under an import name of its own.

A registered version must load for years, beside any release of this package and beside other
versions. So it is logged with a copy of the few modules that its forecasts need, in a package
named after the hash of their source: nothing shadows it, and it shadows nothing. The copy imports
what REQUIREMENTS names, and no more.
"""

from __future__ import annotations

import ast
import hashlib
import re
import sys
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import lib

ENTRY = "lib.inference.pyfunc"  # MLflow runs this module; the rest is imported by it
# Top-level packages that the copied modules import; logged with the versions they were made with.
REQUIREMENTS = ("mlflow", "onnxruntime", "numpy", "pandas")
_SOURCE = Path(lib.__file__).parent
_IMPORT = re.compile(r"^(\s*(?:from|import) )lib(?=[. ])", re.MULTILINE)
_HASH_LENGTH = 12


@dataclass(frozen=True)
class ModelCode:
    """Name the files that `write_model_code` has written.

    Attributes:
        entry: the module that MLflow runs (models-from-code).
        package: the folder of the modules that it imports.
    """

    entry: Path
    package: Path


def write_model_code(folder: Path) -> ModelCode:
    """Write the entry module and the package that it imports into an empty folder."""
    sources = _collect_sources()
    digest = hashlib.sha256(repr(sorted(sources.items())).encode()).hexdigest()
    name = f"production_lstm_{digest[:_HASH_LENGTH]}"
    for file, text in sources.items():
        path = folder / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_rename(text, name))
    entry = folder / _file(ENTRY).name
    entry.write_text(_rename(_file(ENTRY).read_text(), name))
    return ModelCode(entry, folder / name)


@contextmanager
def importable(package: Path) -> Generator[None]:
    """Let a package be imported within the block, and forget its modules afterwards."""
    before = set(sys.modules)
    sys.path.insert(0, str(package.parent))
    try:
        yield
    finally:
        sys.path.remove(str(package.parent))
        for name in set(sys.modules) - before:
            if name.split(".")[0] == package.name:
                del sys.modules[name]


def _collect_sources() -> dict[str, str]:
    """Return the modules behind ENTRY, and faces for their packages, by path in the package."""
    modules = _needed_modules()
    packages = {module.rpartition(".")[0] for module in modules} | {"lib"}
    sources = {_file(module): _file(module).read_text() for module in modules}
    sources |= {_path(package) / "__init__.py": _face(package, modules) for package in packages}
    return {path.relative_to(_SOURCE).as_posix(): text for path, text in sources.items()}


def _needed_modules() -> set[str]:
    """Follow the imports from ENTRY, which is itself left out."""
    needed: set[str] = set()
    pending = [ENTRY]
    while pending:
        for module in _imported_modules(pending.pop()):
            if module not in needed:
                needed.add(module)
                pending.append(module)
    return needed - {ENTRY}


def _imported_modules(module: str) -> Iterator[str]:
    for node in _runtime_nodes(ast.parse(_file(module).read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "lib":
            for alias in node.names:
                yield from _resolve(str(node.module), alias.name)


def _runtime_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Walk a syntax tree, but for what only a type checker sees."""
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
        return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from _runtime_nodes(child)


def _resolve(module: str, name: str) -> list[str]:
    """Return the modules that `from module import name` needs."""
    if _file(f"{module}.{name}").is_file():
        return [f"{module}.{name}"]
    if _stub(f"{module}.{name}").is_file():  # a package as a namespace: its whole face
        return sorted(set(_exports(f"{module}.{name}").values()))
    if _file(module).is_file():
        return [module]
    return [_exports(module)[name]]


def _exports(package: str) -> Mapping[str, str]:
    """Return the module of each public name of a package, as its stub has them."""
    return {
        alias.name: f"{package}.{node.module or alias.name}"
        for node in ast.parse(_stub(package).read_text()).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def _face(package: str, modules: set[str]) -> str:
    """Return an `__init__` with the public names of those modules that are copied."""
    if not _stub(package).is_file():
        return ""
    names = [(module, name) for name, module in _exports(package).items() if module in modules]
    return "".join(f"from {module} import {name}\n" for module, name in sorted(names))


def _rename(text: str, name: str) -> str:
    return _IMPORT.sub(rf"\g<1>{name}", text)


def _path(module: str) -> Path:
    return _SOURCE.joinpath(*module.split(".")[1:])


def _file(module: str) -> Path:
    return _path(module).with_suffix(".py")


def _stub(package: str) -> Path:
    return _path(package) / "__init__.pyi"
