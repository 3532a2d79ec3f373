"""A registry of plug-ins by name."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from importlib import metadata
from typing import Any, TypeVar

from pipeline.errors import ParameterError, one_of

T = TypeVar("T")


class Registry:
    """Plug-ins of one kind.

    The first lookup imports the modules of ``package`` and loads the entry points of the group
    ``finch.plugins``, which register the plug-ins.

    Args:
        kind: Kind of plug-in, for error messages.
        package: Dotted name of the package with the built-in plug-ins.
    """

    def __init__(self, kind: str, package: str) -> None:
        self.kind = kind
        self._package = package
        self._entries: dict[str, Any] = {}
        self._loaded = False

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that adds a class or function under ``name``.

        Raises:
            ParameterError: Another object has that name.
        """

        def decorate(plugin: T) -> T:
            other = self._entries.setdefault(name, plugin)
            if _identity(other) != _identity(plugin):
                raise ParameterError(
                    f"{self.kind} {name!r}",
                    f"is registered by {_identity(other)} and by {_identity(plugin)}",
                    "rename one of the two",
                )
            return plugin

        return decorate

    def names(self) -> list[str]:
        """All registered names, sorted."""
        self._load()
        return sorted(self._entries)

    def __getitem__(self, name: str) -> Any:
        """The plug-in registered under ``name``; raises ``ParameterError`` if there is none."""
        try:
            return self._entries[one_of(name, self.names(), self.kind)]
        except ValueError as error:
            raise ParameterError(self.kind, str(error)) from None

    def __contains__(self, name: object) -> bool:
        return name in self.names()

    def _load(self) -> None:
        if self._loaded:
            return
        self._loaded = True  # set first, because imported plug-ins may use the registry
        try:
            package = importlib.import_module(self._package)
            for module in pkgutil.walk_packages(package.__path__, f"{self._package}."):
                importlib.import_module(module.name)
            for point in metadata.entry_points(group="finch.plugins"):
                point.load()
        except BaseException:
            self._loaded = False
            raise


def _identity(plugin: object) -> str:
    return f"{plugin.__module__}.{getattr(plugin, '__qualname__', repr(plugin))}"
