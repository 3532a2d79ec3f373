"""The source files of this project that a module uses, and their hash.

Unfinished work, such as a checkpoint, is continued only by the code that began it. Its key
therefore contains the hash of that code.

The files are found by parsing, not by importing, so that the result does not depend on what else a
process has imported. A name that a package re-exports is followed to the module that defines it.
Modules that cannot change a result are left out: the command line, errors, progress bars,
telemetry, and reading and writing of files. So is ``pipeline.params``, since the values of the
parameters are part of every key.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import inspect
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import metadata
from pathlib import Path

from pipeline.files import hash_value

_PACKAGES = ("pipeline", "stages", "finch_runtime")
_LEFT_OUT = (
    __name__,
    "pipeline.errors",
    "pipeline.file_fingerprint",
    "pipeline.files",
    "pipeline.storage",
    "pipeline.unfinished",
    "pipeline.params",
    "pipeline.plugins",
    "pipeline.progress",
    "pipeline.quiet",
    "finch_runtime.telemetry",
    # Options, log, locks, interrupts, processes and paths of the commands.
    "stages.command",
    "stages.console",
    "stages.interruption",
    "stages.launch",
    "stages.workspace",
)
_CODE = (".py", ".pyc")  # the sources are those of the closure
# The registries in pipeline.plugins, and the packages whose modules they import.
_REGISTRIES = {
    "LOSSES": "pipeline.losses",
    "RUNTIMES": "pipeline.quantize.runtimes",
    "SECTIONS": "pipeline.report.sections",
    "SOURCES": "pipeline.data.sources",
}


def import_closure(*modules: str, plugins: bool = True) -> dict[str, Path]:
    """Modules of this project that are used by others, directly or not, with their files.

    Imports inside functions count, imports for type checkers do not. A package counts as a whole
    if a module names it in a string (to run it with ``python -m``), looks its modules up in
    ``__path__``, or looks a plug-in up in the registry that loads it.

    Args:
        modules: Dotted names, such as ``stages.distill``; they are part of the result.
        plugins: Whether all plug-ins of a registry count where one of them is looked up.

    Raises:
        ModuleNotFoundError: One of the names is not a module of this project.
    """
    files: dict[str, Path] = {}
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module in files or _is_left_out(module):
            continue
        path = _file_of(module)
        if path is None:
            raise ModuleNotFoundError(f"{module} is not a module of this project")
        files[module] = path
        waiting += _used_by(module, plugins)
    return dict(sorted(files.items()))


def code_fingerprint(*code: str | type) -> str:
    """SHA-256 of the sources of modules and of all that they use, as 64 hex digits.

    Of the plug-ins only those in ``code`` count, so that a change of one loss does not discard the
    unfinished work of another.

    Examples:
        >>> len(code_fingerprint("pipeline.training.loop"))
        64

    Args:
        code: Names of modules of this project, or classes. A class of another package adds the
            file that defines it; if the package provides plug-ins, all of the package's files.
    """
    names = [each if isinstance(each, str) else each.__module__ for each in code]
    own = [name for name in names if name.partition(".")[0] in _PACKAGES]
    closure = import_closure(*own, plugins=False)
    hashes = {name: _hash(path) for name, path in closure.items()}
    for each in code:
        if isinstance(each, type) and each.__module__ not in own:
            hashes |= {name: _hash(path) for name, path in _files_of_plugin(each).items()}
    return hash_value(hashes)


def stage_fingerprint(module: str) -> str:
    """SHA-256 of all that a stage is computed with, as 64 hex digits.

    These are the sources of ``import_closure``, with all plug-ins of this project, and the other
    files in their folders, such as templates.

    Args:
        module: Name of the stage's module, such as ``stages.report``.
    """
    closure = import_closure(module)
    hashes = {name: _hash(path) for name, path in closure.items()}
    for name, path in closure.items():
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        others = (p for p in path.parent.glob("[!.]*") if p.is_file() and p.suffix not in _CODE)
        hashes |= {f"{package}/{other.name}": _hash(other) for other in others}
    return hash_value(hashes)


def plugin_fingerprint(*plugins: type) -> str | None:
    """SHA-256 of the code of plug-ins from other packages; None if all are of this project."""
    outside = [each for each in plugins if each.__module__.partition(".")[0] not in _PACKAGES]
    return _hash_files(file for each in outside for file in _files_of_plugin(each).items())


def plugin_packages_fingerprint() -> str | None:
    """SHA-256 of the code of all packages that provide plug-ins; None if there are none."""
    packages = sorted(_plugin_packages())
    return _hash_files(file for each in packages for file in _files_of_package(each).items())


def _hash_files(files: Iterable[tuple[str, Path]]) -> str | None:
    hashes = {name: _hash(path) for name, path in files}
    return hash_value(hashes) if hashes else None


def _plugin_packages() -> set[str]:
    points = metadata.entry_points(group="finch.plugins")
    return {point.module.partition(".")[0] for point in points}


def _files_of_plugin(plugin: type) -> dict[str, Path]:
    """Files of a class of another package."""
    package = plugin.__module__.partition(".")[0]
    if package in _plugin_packages():
        return _files_of_package(package)
    source = inspect.getsourcefile(plugin)
    return {plugin.__module__: Path(source)} if source else {}


def _files_of_package(package: str) -> dict[str, Path]:
    """Source files of an installed package or module."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return {}
    if not spec.submodule_search_locations:
        return {package: Path(spec.origin)}
    folder = Path(spec.submodule_search_locations[0])
    return {f"{package}/{p.relative_to(folder)}": p for p in folder.rglob("*.py")}


def _is_left_out(module: str) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in _LEFT_OUT)


def _hash(path: Path) -> str:
    # Independent of the line ends that git writes on different systems.
    return hashlib.sha256(path.read_bytes().replace(b"\r\n", b"\n")).hexdigest()


@cache
def _folder_of(package: str) -> Path:
    spec = importlib.util.find_spec(package)  # a top-level package is not imported by this
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"{package} is not installed")
    return Path(spec.submodule_search_locations[0])


def _file_of(module: str) -> Path | None:
    package, *rest = module.split(".")
    if package not in _PACKAGES:
        return None
    path = _folder_of(package).joinpath(*rest)
    candidates = (path / "__init__.py", path.with_name(f"{path.name}.py"))
    return next((file for file in candidates if file.is_file()), None)


def _modules_of(package: str) -> list[str]:
    """A package and all modules in it."""
    folder = _folder_of(package.partition(".")[0]).joinpath(*package.split(".")[1:])
    names = []
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        names.append(".".join((package, *(part for part in parts if part != "__init__"))))
    return names


@cache
def _used_by(module: str, plugins: bool) -> tuple[str, ...]:
    """Modules that the code of one module uses."""
    found: list[str] = []
    for node in _nodes(module):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if _file_of(alias.name)]
        elif isinstance(node, ast.ImportFrom):
            source = _absolute(module, node)
            for alias in node.names:
                if source == "pipeline.plugins" and alias.name in _REGISTRIES:
                    if plugins and _looks_up(module, alias.name):
                        found += _modules_of(_REGISTRIES[alias.name])
                else:
                    found += _defining(source, alias.name)
        elif isinstance(node, ast.Constant) and node.value in _PACKAGES:
            if node.value != module.partition(".")[0]:
                found += _modules_of(node.value)
        elif isinstance(node, ast.Name) and node.id == "__path__":
            found += _modules_of(module)
    return tuple(found)


def _looks_up(module: str, registry: str) -> bool:
    """Whether a module uses a registry for more than to register its own plug-in."""
    uses = [node for node in _nodes(module) if isinstance(node, ast.Name) and node.id == registry]
    registers = [
        node
        for node in _nodes(module)
        if isinstance(node, ast.Attribute) and node.attr == "register" and node.value in uses
    ]
    return len(uses) > len(registers)


def _defining(module: str, name: str) -> list[str]:
    """The module that ``from module import name`` uses, if it belongs to this project."""
    if _file_of(f"{module}.{name}"):
        return [f"{module}.{name}"]
    path = _file_of(module)
    if path is None:
        return []
    if path.name == "__init__.py":
        for node in _nodes(module):
            if isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    if (alias.asname or alias.name) == name:
                        return _defining(_absolute(module, node), alias.name)
    return [module]


def _absolute(module: str, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    path = _file_of(module)
    is_package = path is not None and path.name == "__init__.py"
    package = module if is_package else module.rpartition(".")[0]
    return importlib.util.resolve_name("." * node.level + (node.module or ""), package)


@cache
def _nodes(module: str) -> tuple[ast.AST, ...]:
    """All nodes of a module, without those that only type checkers see."""
    path = _file_of(module)
    assert path is not None
    return tuple(_walk(ast.parse(path.read_text("utf-8"))))


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and _is_type_checking(child.test):
            for other in child.orelse:
                yield from _walk(other)
        else:
            yield from _walk(child)


def _is_type_checking(test: ast.expr) -> bool:
    return "TYPE_CHECKING" in (getattr(test, "id", ""), getattr(test, "attr", ""))
