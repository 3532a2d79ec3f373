"""Where photographs come from. A source is a function that lists photographs and class names."""

from __future__ import annotations

from pathlib import Path

from pipeline.data.sources.elpv import read_elpv
from pipeline.data.sources.folder import read_folder
from pipeline.data.sources.grocery_store import read_grocery_store
from pipeline.data.sources.photos import Photo, Source
from pipeline.errors import DataError
from pipeline.params import Prepare

__all__ = ["Photo", "Source", "read_source"]


def read_source(prepare: Prepare) -> Source:
    """Lists the photographs that ``prepare.source`` names, and checks that they can be used.

    Raises:
        DataError: The folder is not there or not in the layout; a class has no photographs.
    """
    if prepare.source == "elpv":
        source = read_elpv()
    else:
        assert prepare.path is not None  # the parameters' own check
        folder = Path(prepare.path).expanduser()
        if not folder.is_dir():
            raise DataError(
                folder, "is not a folder", f"set prepare.path to the {prepare.source} photographs"
            )
        read = {"folder": read_folder, "grocery_store": read_grocery_store}[prepare.source]
        source = read(folder)
    counts = [0] * len(source.classes)
    for photo in source.photos:
        counts[photo.label] += 1
    empty = [name for name, count in zip(source.classes, counts, strict=True) if not count]
    if empty:
        raise DataError(
            f"class {empty[0]!r}", "has no photographs", "add some, or remove the class"
        )
    if len(source.classes) < 2:
        raise DataError(
            f"source {source.name!r}",
            f"has {len(source.classes)} class, a classifier needs two",
            "point prepare.path at the folder that holds the class folders",
        )
    return source
