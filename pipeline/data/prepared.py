"""Packed photographs: one memory-mapped uint8 file per split, and ``dataset.json`` beside them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from finch_runtime.errors import RuntimeProblem
from finch_runtime.images import load_image
from numpy.typing import NDArray

from pipeline.data.sources.photos import SPLITS, Photo, Source, SplitName
from pipeline.errors import ArtefactError, DataError
from pipeline.files import read_json, whole_folder, write_json
from pipeline.hashing import hash_file, hash_value
from pipeline.progress import Track, silent

FORMAT = 1


@dataclass(frozen=True)
class Split:
    """The images of one split.

    Attributes:
        images: uint8 [n, size, size, 3], RGB, memory-mapped.
        labels: int64 [n].
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class PreparedData:
    """A folder that ``prepare`` wrote."""

    folder: Path
    info: dict[str, Any]

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; a label is an index into them."""
        return tuple(self.info["classes"])

    @property
    def image_size(self) -> int:
        """Side of the packed images in pixels."""
        return int(self.info["image_size"])

    @property
    def fingerprint(self) -> str:
        """SHA-256 that changes with any pixel, label, class name or order."""
        return str(self.info["fingerprint"])

    def images_path(self, name: SplitName) -> Path:
        """The packed images of a split, as a file that a device runtime can read."""
        return self.folder / name / "images.npy"

    def split(self, name: SplitName) -> Split:
        """Opens a split; pixels stay on disk until they are used.

        Raises:
            ArtefactError: A file is missing, truncated, or does not fit ``dataset.json``.
        """
        images = _open_array(self.images_path(name))
        labels = _open_array(self.folder / name / "labels.npy")
        expected = int(self.info["splits"][name]["images"])
        shape = (expected, self.image_size, self.image_size, 3)
        if images.shape != shape or images.dtype != np.uint8:
            raise ArtefactError(
                self.images_path(name), f"is {images.dtype} {images.shape}, expected uint8 {shape}"
            )
        if labels.shape != (expected,):
            raise ArtefactError(
                self.folder / name / "labels.npy", f"has {labels.shape}, expected ({expected},)"
            )
        return Split(images, np.array(labels))


def open_prepared(folder: Path) -> PreparedData:
    """Opens a prepared folder.

    Raises:
        ArtefactError: ``dataset.json`` is missing or of another format.
    """
    info = read_json(folder / "dataset.json")
    if info.get("format") != FORMAT:
        raise ArtefactError(
            folder / "dataset.json", f"has format {info.get('format')!r}, this Finch reads {FORMAT}"
        )
    return PreparedData(folder, info)


def pack(
    source: Source,
    splits: dict[SplitName, list[int]],
    folder: Path,
    *,
    image_size: int,
    fit: str,
    workers: int = 2,
    track: Track = silent,
) -> PreparedData:
    """Decodes every photograph once and writes the packed splits.

    The pixels are made by the device runtime's own ``load_image``, so that a student is trained
    on just what a device will show it.

    Args:
        source: Photographs and class names.
        splits: Indices into ``source.photos`` per split.
        folder: Where to write; replaced as a whole.
        image_size: Side of the packed images in pixels.
        fit: ``crop`` or ``stretch`` (see ``Prepare.fit``).
        workers: Threads that decode; they do not change the result.
        track: Shows progress.

    Raises:
        DataError: A photograph cannot be decoded; the message names it.
    """
    with whole_folder(folder) as temporary:
        summary = {}
        for name in SPLITS:
            photos = [source.photos[i] for i in splits[name]]
            (temporary / name).mkdir()
            _pack_images(photos, temporary / name / "images.npy", image_size, fit, workers, track)
            labels = np.array([photo.label for photo in photos], dtype=np.int64)
            np.save(temporary / name / "labels.npy", labels)
            names = "".join(f"{photo.name}\n" for photo in photos)
            (temporary / name / "names.txt").write_text(names, encoding="utf-8")
            summary[name] = {
                "images": len(photos),
                "per_class": np.bincount(labels, minlength=len(source.classes)).tolist(),
                "files": {
                    file: hash_file(temporary / name / file)
                    for file in ("images.npy", "labels.npy", "names.txt")
                },
            }
        info = {
            "format": FORMAT,
            "source": source.name,
            "origin": source.origin,
            "licence": source.licence,
            "classes": list(source.classes),
            "image_size": image_size,
            "fit": fit,
            "splits": summary,
        }
        info["fingerprint"] = hash_value(info)
        write_json(temporary / "dataset.json", info)
    return PreparedData(folder, info)


def _pack_images(
    photos: Sequence[Photo], path: Path, size: int, fit: str, workers: int, track: Track
) -> None:
    packed = np.lib.format.open_memmap(
        path, mode="w+", dtype=np.uint8, shape=(len(photos), size, size, 3)
    )

    def decode(position: int) -> None:
        photo = photos[position]
        try:
            packed[position] = load_image(photo.path, size, fit)
        except RuntimeProblem as problem:
            raise DataError(problem.thing, problem.problem, problem.remedy) from None

    with ThreadPoolExecutor(workers) as pool:
        for _ in track(
            pool.map(decode, range(len(photos))), f"packing {path.parent.name}", len(photos)
        ):
            pass
    packed.flush()


def _open_array(path: Path) -> NDArray[Any]:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]
    except FileNotFoundError:
        raise ArtefactError(path, "is missing") from None
    except (ValueError, EOFError, OSError) as error:
        raise ArtefactError(path, f"is truncated or not a NumPy file ({error})") from None
