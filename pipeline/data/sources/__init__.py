"""Where photographs come from. A source is a function that lists photographs and class names."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pipeline.data.sources.checks import refuse_missing_classes, refuse_unusable
from pipeline.data.sources.cifar100 import read_cifar100
from pipeline.data.sources.csv_table import read_csv
from pipeline.data.sources.cub200 import read_cub200
from pipeline.data.sources.elpv import read_elpv
from pipeline.data.sources.eurosat import read_eurosat
from pipeline.data.sources.fgvc_aircraft import read_fgvc_aircraft
from pipeline.data.sources.flowers102 import read_flowers102
from pipeline.data.sources.folder import read_folder
from pipeline.data.sources.food101 import read_food101
from pipeline.data.sources.grocery_store import read_grocery_store
from pipeline.data.sources.gtsrb import read_gtsrb
from pipeline.data.sources.oxford_iiit_pet import read_oxford_iiit_pet
from pipeline.data.sources.photos import Photo, Source
from pipeline.data.sources.stanford_cars import read_stanford_cars
from pipeline.data.sources.stanford_dogs import read_stanford_dogs
from pipeline.data.sources.tiny_imagenet import read_tiny_imagenet
from pipeline.data.sources.typefaces import draw_typefaces
from pipeline.errors import DataError
from pipeline.params import Prepare

__all__ = ["SOURCES", "Photo", "Source", "read_source"]

SOURCES: dict[str, Callable[[Prepare], Source]] = {
    "elpv": lambda prepare: read_elpv(),
    "typefaces": lambda prepare: draw_typefaces(prepare.typefaces),
    "folder": lambda prepare: read_folder(_folder(prepare)),
    "csv": lambda prepare: read_csv(_path(prepare)),
    "grocery_store": lambda prepare: read_grocery_store(_folder(prepare)),
    "tiny_imagenet": lambda prepare: read_tiny_imagenet(_folder(prepare)),
    "cub200": lambda prepare: read_cub200(_folder(prepare)),
    "stanford_dogs": lambda prepare: read_stanford_dogs(_folder(prepare)),
    "cifar100": lambda prepare: read_cifar100(_path(prepare), prepare.download),
    "fgvc_aircraft": lambda prepare: read_fgvc_aircraft(_path(prepare), prepare.download),
    "stanford_cars": lambda prepare: read_stanford_cars(_path(prepare), prepare.download),
    "flowers102": lambda prepare: read_flowers102(_path(prepare), prepare.download),
    "oxford_iiit_pet": lambda prepare: read_oxford_iiit_pet(_path(prepare), prepare.download),
    "food101": lambda prepare: read_food101(_path(prepare), prepare.download),
    "gtsrb": lambda prepare: read_gtsrb(_path(prepare), prepare.download),
    "eurosat": lambda prepare: read_eurosat(_path(prepare), prepare.download),
}


def read_source(prepare: Prepare) -> Source:
    """Lists the photographs that ``prepare.source`` names, and checks that they can be used.

    Raises:
        DataError: The source is not there or not in its layout; what it lists cannot be used; a
            name does not match ``prepare.group_by``.
    """
    source = SOURCES[prepare.source](prepare)
    refuse_unusable(source)
    # Published sets are taken as they are; in a user's own a missing class is a slip.
    if prepare.source in ("folder", "csv"):
        refuse_missing_classes(source, _path(prepare))
    return source if prepare.group_by is None else _group(source, prepare.group_by)


def _path(prepare: Prepare) -> Path:
    assert prepare.path is not None  # the parameters' own check
    return Path(prepare.path).expanduser()


def _folder(prepare: Prepare) -> Path:
    folder = _path(prepare)
    try:
        is_folder = folder.is_dir()
    except OSError as error:
        raise DataError(folder, f"cannot be read ({error.strerror})", "check who owns it") from None
    if not is_folder:
        raise DataError(
            folder, "is not a folder", f"set prepare.path to the {prepare.source} photographs"
        )
    return folder


def _group(source: Source, pattern: str) -> Source:
    """The source with the groups that a regular expression finds in its names."""
    photos = []
    for photo in source.photos:
        match = re.search(pattern, photo.name)
        if match is None:
            raise DataError(
                f"photograph {photo.name!r}",
                f"its name does not match prepare.group_by, {pattern!r}",
                "let the expression match every name",
            )
        # A group of the expression that took no part is None.
        key = "/".join(part or "" for part in match.groups() or (match[0],))
        photos.append(replace(photo, group=key))
    return replace(source, photos=tuple(photos))
