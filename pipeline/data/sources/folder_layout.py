"""Which folders are splits and which are classes, by their names and by what they contain."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from pipeline.data.sources.base import SPLITS, SplitName
from pipeline.data.sources.folder_tree import FolderTree
from pipeline.data.sources.quoting import quoted
from pipeline.data.sources.split_names import SplitRole, is_filler, roles_of, split_of
from pipeline.errors import DataError

_ALL_CLASSES = "prepare.folder.layout: classes"

MAKE_FOLDERS = "make one folder per class, or list the labels in a table (prepare.source: csv)"
"""What to do if there are no class folders."""


@dataclass(frozen=True)
class FolderLayout:
    """Where the class folders are.

    Attributes:
        parents: The folders that contain class folders, each with its split, or with None if there
            are no split folders.
        remarks: What was decided, one sentence each.
    """

    parents: tuple[tuple[SplitName | None, FolderTree], ...]
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Top:
    """A folder at the top that has images."""

    tree: FolderTree
    role: SplitRole | None
    inner: FolderTree
    """The folder with the class folders: below ``tree`` if that repeats its name."""

    def is_split(self, name: SplitName) -> bool:
        """Whether it has the name of this split, and contains class folders."""
        return self.role == name and bool(self.inner.folders_with_images)


def name_splits(root: FolderTree, names: Mapping[SplitName, str]) -> FolderLayout:
    """The layout with the split folders that parameters name.

    Args:
        root: The folder of the data set.
        names: The folder of every split, relative to ``root``.

    Raises:
        DataError: A folder does not exist, or is inside the folder of another split.
    """
    trees = {split: _descend(_find(root, split, name), split) for split, name in names.items()}
    for split, tree in trees.items():
        for other in trees.keys() - {split}:
            if tree.path.is_relative_to(trees[other].path):
                problem = f"{names[split]!r} is in the folder of prepare.folder.{other}"
                raise DataError(f"prepare.folder.{split}", problem, "set one folder per split")
    return FolderLayout(tuple(trees.items()))


def all_classes(root: FolderTree) -> FolderLayout:
    """The layout without split folders, whatever the names are."""
    tree = _unwrap(root, at_splits=True)
    return FolderLayout(((None, tree),), _wrapped(root, tree))


def recognize(root: FolderTree, *, check_repeated: bool = True) -> FolderLayout:
    """The layout that the names of the folders and their contents suggest.

    Args:
        root: The folder of the data set.
        check_repeated: Whether to refuse class folders of the same names in every folder, which
            could be classes in unknown splits.

    Raises:
        DataError: There is more than one reading, or a split has two folders.
    """
    tree = _unwrap(root, at_splits=False)
    remarks = _wrapped(root, tree)
    trees = tree.folders_with_images
    tops = [
        _Top(top, role, top if role is None else _descend(top, role))
        for top, role in zip(trees, roles_of([top.name for top in trees]), strict=True)
    ]
    splits = [top for split in SPLITS for top in tops if top.is_split(split)]
    if not splits:
        if tops and all(top.role in SPLITS for top in tops):
            names = quoted(top.tree.name for top in tops)
            problem = f"no class folders with images in {names}, which are splits by their names"
            raise DataError(root.path, problem, MAKE_FOLDERS)
        if check_repeated:
            _check_repeated(root, trees)
        if odd := [top.tree.name for top in tops if top.role == "unlabeled"]:
            remarks += (f"read as a class, although its name says otherwise: {quoted(odd)}",)
        return FolderLayout(((None, tree),), remarks)
    strangers = [top.tree.name for top in tops if top.role is None]
    if strangers:
        problem = (
            f"by their names, {quoted(top.tree.name for top in splits)} are splits, but "
            f"{quoted(strangers)} would be a class"
        )
        remedy = f"set {_settings(root, splits)} to read these only, or {_ALL_CLASSES}"
        raise DataError(root.path, problem, remedy)
    parents: dict[SplitName, FolderTree] = {}
    for split in SPLITS:
        twins = [top for top in splits if top.role == split]
        if len(twins) > 1:
            problem = f"{quoted(top.tree.name for top in twins)} are names of one split, {split}"
            remedy = f"merge them, or name the folder of each split: {_settings(root, splits)}"
            raise DataError(root.path, problem, remedy)
        if twins:
            parents[split] = twins[0].inner
    read = ", ".join(f"{_relative(root, tree)} is {split}" for split, tree in parents.items())
    remarks += (f"folders of the splits: {read}",)
    unlabeled = [top.tree for top in tops if top not in splits]
    if unlabeled:
        names = quoted(_relative(root, tree) for tree in unlabeled)
        remarks += (f"passed over, because the images in it have no class folders: {names}",)
    return FolderLayout(tuple(parents.items()), remarks)


def _unwrap(root: FolderTree, *, at_splits: bool) -> FolderTree:
    """Descends into folders that are the only ones with images, as in an unpacked archive.

    With ``at_splits``, also into one whose name is that of a split.
    """
    inner = root.folders_with_images
    if len(inner) != 1 or root.images or root.unread or not inner[0].folders_with_images:
        return root
    if split_of(inner[0].name) and not at_splits:
        return root
    # An empty folder is a class without images, rather than one of annotations.
    if any(folder.is_empty for folder in root.folders):
        return root
    return _unwrap(inner[0], at_splits=at_splits)


def _wrapped(root: FolderTree, tree: FolderTree) -> tuple[str, ...]:
    if tree is root:
        return ()
    return (f"{_relative(root, tree)!r} is the only folder with images; its folders are read",)


def _descend(split: FolderTree, role: SplitRole) -> FolderTree:
    """Descends from a split folder into a single one whose name adds nothing, if there is one."""
    inner = split.folders_with_images
    if len(inner) != 1 or split.images or split.unread:
        return split
    name = inner[0].name
    adds_nothing = name == split.name or split_of(name) == role or is_filler(name)
    return _descend(inner[0], role) if adds_nothing else split


def _check_repeated(root: FolderTree, tops: Sequence[FolderTree]) -> None:
    """Refuses folders of the same names in all of these folders, or in one and beside it.

    Raises:
        DataError: There are two such names or more.
    """
    beside = {top.name for top in tops}
    for top in tops:
        copied = sorted(beside & {each.name for each in top.folders_with_images})
        if len(copied) > 1 and not (top.images or top.unread):
            problem = f"{_relative(root, top)!r} contains folders of the same names as those beside"
            remedy = f"remove it if it is a copy, or set {_ALL_CLASSES} if it is a class"
            raise DataError(root.path, f"{problem} it ({quoted(copied)})", remedy)
    if len(tops) < 2 or any(top.images or top.unread for top in tops):
        return
    common = set.intersection(*({each.name for each in top.folders_with_images} for top in tops))
    if len(common) < 2:
        return
    upper = quoted(top.name for top in tops)
    problem = f"each of {upper} contains {quoted(sorted(common))}: either could be the classes"
    if all(split_of(name) for name in common):
        remedy = f"move them to <split>/<class>, or set {_ALL_CLASSES} to pool the splits"
    else:
        remedy = (
            f"set {_ALL_CLASSES} if the former are, or prepare.folder.class_folder: last if the "
            "latter are, or prepare.path to one of the former; if they are splits, name them "
            f"(prepare.folder.train: {_relative(root, tops[0])}, …)"
        )
    raise DataError(root.path, problem, remedy)


def _find(root: FolderTree, split: SplitName, name: str) -> FolderTree:
    tree = root
    for part in PurePosixPath(name).parts:
        wanted = unicodedata.normalize("NFC", part)
        found = [f for f in tree.folders if unicodedata.normalize("NFC", f.name) == wanted]
        if not found:
            there = quoted(folder.name for folder in tree.folders)
            problem = f"{name!r} is not a folder in {root.path}"
            raise DataError(f"prepare.folder.{split}", problem, f"{tree.path} contains {there}")
        tree = found[0]
    return tree


def _settings(root: FolderTree, splits: Sequence[_Top]) -> str:
    """The parameters that name these split folders."""
    names: dict[str, str] = {}
    for top in splits:
        names.setdefault(str(top.role), _relative(root, top.inner))
    return ", ".join(f"prepare.folder.{split}: {name}" for split, name in names.items())


def _relative(root: FolderTree, tree: FolderTree) -> str:
    return tree.path.relative_to(root.path).as_posix()
