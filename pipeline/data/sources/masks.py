"""Segmentation masks that lie beside the images, as in data sets that are published for both."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from pipeline.data.sources.folder_tree import FolderTree
from pipeline.data.sources.split_names import is_filler

_WORDS = r"masks?|segmentations?|ground[\W_]*truths?"
_MASK_OF = re.compile(rf"(?P<image>.+)[\W_](?:{_WORDS})(?:[\W_]*\d+)?", re.IGNORECASE)
_MASK_FOLDER = re.compile(rf"(?:.*[\W_])?(?:{_WORDS})", re.IGNORECASE)


def set_masks_aside(tree: FolderTree) -> FolderTree:
    """The same folders, with the masks of images among ``others``.

    A mask is an image with the name of another one in the same folder, and ``mask`` after it
    (``scan_1.png``, ``scan_1_mask.png``); or an image in a folder ``masks`` with the name of one
    beside this folder (``scan_1.png``, ``images/scan_1.png``).
    """
    return _without(tree, frozenset(_masks(tree)))


def _masks(tree: FolderTree) -> set[Path]:
    stems = {path.stem for path in tree.images}
    found = {path for path in tree.images if _image_of(path) in stems - {path.stem}}
    # Beside classes such as "no mask", a folder "mask" is a class.
    beside = stems.union(*(_stems(folder) for folder in tree.folders if is_filler(folder.name)))
    for folder in tree.folders:
        if _MASK_FOLDER.fullmatch(folder.name):
            inside = (path for each in folder.walk() for path in each.images)
            found |= {
                path for path in inside if not beside.isdisjoint((path.stem, _image_of(path)))
            }
        else:
            found |= _masks(folder)
    return found


def _stems(tree: FolderTree) -> set[str]:
    return {path.stem for each in tree.walk() for path in each.images}


def _image_of(path: Path) -> str:
    """Stem of the image that this file is the mask of, by its name; empty if it is none."""
    match = _MASK_OF.fullmatch(path.stem)
    return match["image"].rstrip(" _-") if match else ""


def _without(tree: FolderTree, masks: frozenset[Path]) -> FolderTree:
    return replace(
        tree,
        folders=tuple(_without(folder, masks) for folder in tree.folders),
        images=tuple(path for path in tree.images if path not in masks),
        others=(*tree.others, *(path for path in tree.images if path in masks)),
    )
