"""Counts of the files that a source passes over, and what to do to have them read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from finch_runtime.formats import NEEDED, format_of_suffix, readable_formats

from pipeline.data.sources.base import PassedOver

_EXAMPLES = 3


@dataclass(frozen=True)
class PassedOverKind:
    """The files with one suffix that are passed over.

    Attributes:
        suffix: In lower case, with its dot; empty if they have none.
        is_image: Whether they are images.
        files: Their number.
        examples: Names of the first ones.
    """

    suffix: str
    is_image: bool
    files: int
    examples: tuple[str, ...]

    @property
    def needed(self) -> str:
        """What is needed to read their format; empty if nothing makes it readable."""
        name = format_of_suffix(self.suffix)
        if name not in NEEDED or name in readable_formats():
            return ""
        return f"{name} needs {NEEDED[name]}"


def count_by_suffix(files: Iterable[PassedOver]) -> list[PassedOverKind]:
    """The kinds of passed-over files: images first, then by number and suffix."""
    names: dict[tuple[bool, str], list[str]] = defaultdict(list)
    for file in files:
        suffix = PurePosixPath(file.name).suffix.lower()
        names[file.is_image, suffix].append(file.name)
    kinds = [
        PassedOverKind(suffix, is_image, len(found), tuple(found[:_EXAMPLES]))
        for (is_image, suffix), found in names.items()
    ]
    return sorted(kinds, key=lambda kind: (not kind.is_image, -kind.files, kind.suffix))


def describe(kinds: Iterable[PassedOverKind]) -> str:
    """Such as ``12 .heic images (HEIF needs the package pillow-heif), 1 .cr2 image``."""
    return ", ".join(map(_describe, kinds))


def _describe(kind: PassedOverKind) -> str:
    noun = ("image" if kind.is_image else "file") + ("" if kind.files == 1 else "s")
    what = f"{kind.suffix} {noun}" if kind.suffix else f"{noun} without a suffix"
    return f"{kind.files:,} {what}" + (f" ({kind.needed})" if kind.needed else "")


def how_to_read(kinds: Iterable[PassedOverKind]) -> str:
    """What to do to have these images read."""
    needed = {kind.needed.partition(" needs ")[2] for kind in kinds} - {""}
    return (
        f"install {' and '.join(sorted(needed))}, or convert them to JPEG"
        if needed
        else ("convert them to JPEG or PNG")
    )
