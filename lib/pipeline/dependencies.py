"""Finds the source files of the library that a notebook uses, by reading its imports.

A stage runs again when one of these files changes, and not when another does. Nothing is
imported. A lazy package face (`lib/data/__init__.py` with its `__init__.pyi`) stands for the
modules that the names used of it come from: `from lib import data` with `data.load(...)` needs
`lib/data/loading.py` and what that imports.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

from lib.files import file_hash, text_hash


def used_files(sources: Iterable[str], package: Path) -> list[Path]:
    """Return the files of `package` that code uses, directly or through other files, sorted.

    Args:
        sources: Python code, such as the cells of a notebook, as one program.
        package: folder of a top-level package; its name is the name it is imported by.
    """
    library = _Library(package)
    tree = ast.Module([node for source in sources for node in _parse(source)], [])
    files: set[Path] = set()
    waiting = list(library.imported_by(tree))
    while waiting:
        file = waiting.pop()
        if file not in files:
            files.add(file)
            waiting += library.imported_by(_read(file), file)
    return sorted(files)


def used_code_hash(sources: Iterable[str], package: Path) -> str:
    """Return the sha256 hex of the files of `package` that code uses."""
    files = used_files(sources, package)
    return text_hash({file.relative_to(package).as_posix(): file_hash(file) for file in files})


class _Library:
    """The modules of a package on disk, by their dotted names."""

    def __init__(self, package: Path) -> None:
        self.root = package.name
        self.folder = package

    def imported_by(self, tree: ast.AST, file: Path | None = None) -> Iterator[Path]:
        """Yield the files that a program imports; `file` is its own place, if in the package."""
        aliases = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield from self._parents(alias.name)
                    if alias.asname:
                        aliases[alias.asname] = alias.name
                    elif self._is_ours(alias.name):
                        aliases[self.root] = self.root
            elif isinstance(node, ast.ImportFrom):
                module = self._absolute(node, file)
                yield from self._parents(module)
                for alias in node.names:
                    yield from self._member(module, alias.name)
                    aliases[alias.asname or alias.name] = f"{module}.{alias.name}"
            elif isinstance(node, (ast.List, ast.Tuple)):
                yield from self._run_by_command(node)
        yield from self._used_of_faces(tree, aliases)

    def _run_by_command(self, command: ast.List | ast.Tuple) -> Iterator[Path]:
        """Yield the files of a module that a command runs in another process, by `-m`."""
        words = [word.value if isinstance(word, ast.Constant) else "" for word in command.elts]
        for option, module in pairwise(words):
            if option == "-m" and isinstance(module, str):
                yield from self._parents(module)

    def _used_of_faces(self, tree: ast.AST, aliases: dict[str, str]) -> Iterator[Path]:
        """Yield the files behind `face.name`, and behind all names of a face used otherwise."""
        looked_up: set[int] = set()
        for node in ast.walk(tree):  # an attribute comes before the expression that it is of
            if isinstance(node, ast.Attribute) and (module := self._module_of(node.value, aliases)):
                looked_up.add(id(node.value))
                yield from self._member(module, node.attr)
            module = self._module_of(node, aliases) if id(node) not in looked_up else ""
            for name in self._stub(module):
                yield from self._member(module, name)

    def _module_of(self, node: ast.AST, aliases: dict[str, str]) -> str:
        """Return the dotted name of the module that an expression stands for; "" for none."""
        module = ""
        if isinstance(node, ast.Name):
            module = aliases.get(node.id, "")
        elif isinstance(node, ast.Attribute) and (outer := self._module_of(node.value, aliases)):
            module = f"{outer}.{node.attr}"
        return module if self._is_ours(module) and self._file(module) else ""

    def _member(self, module: str, name: str) -> Iterator[Path]:
        """Yield the files of `name` in `module`: a submodule, or where a face has it from."""
        if not self._is_ours(module):
            return
        if self._file(f"{module}.{name}"):
            yield from self._parents(f"{module}.{name}")
        elif name in (origins := self._stub(module)):
            yield from self._parents(origins[name])
        elif name == "*":
            for origin in origins.values():
                yield from self._parents(origin)

    def _parents(self, module: str) -> Iterator[Path]:
        """Yield the file of a module and those of the packages around it."""
        parts = module.split(".") if self._is_ours(module) else []
        for end in range(1, len(parts) + 1):
            file = self._file(".".join(parts[:end]))
            if file:
                yield file

    def _file(self, module: str) -> Path | None:
        path = self.folder.joinpath(*module.split(".")[1:])
        places = (path / "__init__.py", path.with_suffix(".py"))
        return next((place for place in places if place.is_file()), None)

    def _stub(self, module: str) -> dict[str, str]:
        """Return where a lazy face has its names from: name to module."""
        if not self._is_ours(module):
            return {}
        stub = self.folder.joinpath(*module.split(".")[1:], "__init__.pyi")
        return {
            alias.asname or alias.name: self._absolute(node, stub)
            for node in (_read(stub).body if stub.is_file() else ())
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }

    def _absolute(self, node: ast.ImportFrom, file: Path | None) -> str:
        """Return the dotted name of the module that an import in `file` is from."""
        if not node.level or file is None:
            return node.module or ""
        inside = [self.root, *file.relative_to(self.folder).parent.parts]
        outer = inside[: len(inside) - node.level + 1]
        return ".".join([*outer, *([node.module] if node.module else [])])

    def _is_ours(self, module: str) -> bool:
        return module.split(".")[0] == self.root


def _parse(source: str) -> list[ast.stmt]:
    """Return the statements of a cell, without its lines for the shell and for IPython."""
    lines = ["" if line.lstrip().startswith(("%", "!")) else line for line in source.splitlines()]
    try:
        return ast.parse("\n".join(lines)).body
    except SyntaxError:  # not Python, or the kernel will say what is wrong
        return []


def _read(file: Path) -> ast.Module:
    return _parse_file(file, file.stat().st_mtime_ns)


@lru_cache(maxsize=512)
def _parse_file(file: Path, changed: int) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))
