"""Interface of the progress display."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

Item = TypeVar("Item")


class Track(Protocol):
    """Yields items and displays progress; implemented in ``stages.console``."""

    def __call__(
        self, items: Iterable[Item], description: str, total: int | None = None
    ) -> Iterator[Item]:
        """Yields every item. ``total`` is their number if ``items`` has no length."""
        ...


def silent(items: Iterable[Item], description: str, total: int | None = None) -> Iterator[Item]:
    """A ``Track`` without display."""
    yield from items
