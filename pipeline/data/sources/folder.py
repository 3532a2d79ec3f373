"""A folder of class folders."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.data.sources.base import (
    SPLITS,
    DataSource,
    Listing,
    PassedOver,
    Sample,
    SplitName,
)
from pipeline.data.sources.folder_layout import (
    MAKE_FOLDERS,
    FolderLayout,
    all_classes,
    name_splits,
    recognize,
)
from pipeline.data.sources.folder_tree import FolderTree, scan
from pipeline.data.sources.masks import set_masks_aside
from pipeline.data.sources.quoting import quoted
from pipeline.errors import DataError, ParameterError
from pipeline.plugins import SOURCES
from pipeline.plugins.section import LocalText


@SOURCES.register("folder")
class Folder(DataSource):
    """Images in ``<class>/**`` or ``<split>/<class>/**``, with classes sorted by name.

    Split folders are recognized by the names that are in use for them, if they contain class
    folders. Hidden files are ignored. All other files are read or passed over. Symbolic links are
    followed.

    Args:
        layout: `auto`: folders with names of splits that contain class folders are splits;
            `classes`: all folders are classes.
        train: Folder of the training split, relative to `path`. If a split is named, only the named
            splits are read.
        val: Folder of the validation split.
        test: Folder of the test split.
        class_folder: Which folder is the class of an image: the `first` one below `path` or below
            the split, or the `last` one, which directly contains the image.
    """

    comparable_splits = False

    def __init__(
        self,
        *,
        layout: Literal["auto", "classes"] = "auto",
        train: LocalText | None = None,
        val: LocalText | None = None,
        test: LocalText | None = None,
        class_folder: Literal["first", "last"] = "first",
    ) -> None:
        self.layout = layout
        self.named: dict[SplitName, str] = {
            split: name
            for split, name in zip(SPLITS, (train, val, test), strict=True)
            if name is not None
        }
        self.last_is_class = class_folder == "last"

    def read(self, path: Path) -> Listing:
        """Lists the images.

        Raises:
            DataError: There are no class folders, the layout can be read in several ways, a folder
                cannot be read, or a link is broken or points to a folder that contains it.
            ParameterError: `layout: classes` and the folder of a split are set.
        """
        found = scan(path)
        root = set_masks_aside(found)
        layout = self._layout(root)
        folders = [
            folder
            for split, parent in layout.parents
            for folder in _class_folders(split, parent, last_is_class=self.last_is_class)
        ]
        if not folders:
            raise DataError(path, "contains no class folders", MAKE_FOLDERS)
        classes = sorted({folder.name for folder in folders})
        labels = {name: label for label, name in enumerate(classes)}
        samples = [
            Sample.from_path(path, file, labels[folder.name], folder.split)
            for folder in folders
            for file in sorted(folder.images())
        ]
        samples.sort(key=lambda sample: (SPLITS.index(sample.split or "train"), sample.label))
        label_of = {file: labels[folder.name] for folder in folders for file in folder.files()}
        read = {sample.path for sample in samples}
        passed_over = [
            PassedOver(_printable(file, path), is_image, label_of.get(file))
            for file, is_image in _files(root)
            if file not in read
        ]
        remarks = [
            *layout.remarks,
            *_describe_classes(folders, last_is_class=self.last_is_class),
            *_describe_others(found, root, passed_over),
        ]
        return Listing(classes, samples, sorted(passed_over, key=lambda file: file.name), remarks)

    def _layout(self, root: FolderTree) -> FolderLayout:
        if self.named and self.layout == "classes":
            split = next(iter(self.named))
            problem = f"contradicts prepare.folder.{split}, which names the folder of a split"
            raise ParameterError("prepare.folder.layout: classes", problem, "remove one of the two")
        if self.named:
            return name_splits(root, self.named)
        if self.layout == "classes":
            return all_classes(root)
        return recognize(root, check_repeated=not self.last_is_class)


@dataclass(frozen=True)
class _ClassFolder:
    """A folder of one class.

    Attributes:
        split: Its split, if there are split folders.
        tree: The folder.
        is_deep: Whether the folders below it belong to it.
    """

    split: SplitName | None
    tree: FolderTree
    is_deep: bool

    @property
    def name(self) -> str:
        """Name of the class: composed characters, because macOS also stores decomposed ones."""
        return unicodedata.normalize("NFC", self.tree.name)

    def _trees(self) -> Iterator[FolderTree]:
        return self.tree.walk() if self.is_deep else iter((self.tree,))

    def images(self) -> Iterator[Path]:
        """The images that can be read."""
        return (file for tree in self._trees() for file in tree.images)

    def files(self) -> Iterator[Path]:
        """All files."""
        return (f for t in self._trees() for f in (*t.images, *t.unread, *t.others))


def _class_folders(
    split: SplitName | None, parent: FolderTree, *, last_is_class: bool
) -> list[_ClassFolder]:
    if not last_is_class:
        return [_ClassFolder(split, tree, is_deep=True) for tree in parent.folders]
    below = (tree for folder in parent.folders for tree in folder.walk())
    return [_ClassFolder(split, t, is_deep=False) for t in below if t.images or t.unread]


def _files(root: FolderTree) -> Iterator[tuple[Path, bool]]:
    """All files below a folder, and whether they are images."""
    for tree in root.walk():
        yield from ((file, True) for file in (*tree.images, *tree.unread))
        yield from ((file, False) for file in tree.others)


def _printable(path: Path, root: Path) -> str:
    """The path relative to ``root``, with a question mark for every byte that is not UTF-8."""
    return path.relative_to(root).as_posix().encode("utf-8", "replace").decode("utf-8")


def _describe_others(
    found: FolderTree, root: FolderTree, passed_over: list[PassedOver]
) -> Iterator[str]:
    """Says which images are not read; ``root`` is ``found`` without masks."""
    if masks := found.count_images() - root.count_images():
        yield f"masks of other images by their names, and passed over: {masks}"
    if outside := sum(file.is_image and file.label is None for file in passed_over):
        yield f"images in no class folder, and passed over: {outside}"
    if hidden := [_printable(path, root.path) for tree in root.walk() for path in tree.hidden]:
        yield f"not read, because their names start with a dot: {quoted(hidden)}"


def _describe_classes(folders: list[_ClassFolder], *, last_is_class: bool) -> list[str]:
    """Says where another folder could be meant as the class."""
    if last_is_class:
        paths: dict[tuple[SplitName | None, str], list[Path]] = {}
        for folder in folders:
            paths.setdefault((folder.split, folder.name), []).append(folder.tree.path)
        merged = sorted({name for (_, name), found in paths.items() if len(found) > 1})
        return [f"classes of several folders each: {quoted(merged)}"] if merged else []
    deep = [
        folder
        for folder in folders
        if not folder.tree.images and len(folder.tree.folders_with_images) > 1
    ]
    if not deep:
        return []
    names = quoted(sorted({folder.name for folder in deep}))
    inner = quoted(tree.name for tree in deep[0].tree.walk() if tree.images)
    return [
        f"classes whose images are in several folders: {names}; if these folders ({inner}) are the "
        "classes, set prepare.folder.class_folder: last"
    ]
