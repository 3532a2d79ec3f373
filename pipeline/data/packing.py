"""Writes the folder that ``pipeline.data.prepared`` opens."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from finch_runtime.image_size import ImageSize, height_and_width

from pipeline.data.decoding import DecodedImages
from pipeline.data.prepared import (
    FORMAT,
    UNLABELLED,
    DatasetInfo,
    PreparedData,
    SplitInfo,
    UnlabelledInfo,
    images_file,
)
from pipeline.data.sources.base import SPLITS, ImageDataset, Sample, SplitName
from pipeline.data.split import group_numbers
from pipeline.files import atomic_folder, hash_file, write_json
from pipeline.progress import Track, silent


def pack(
    dataset: ImageDataset,
    decoded: DecodedImages,
    splits: Mapping[SplitName, Sequence[int]],
    folder: Path,
    *,
    aspect_ratio: float = 1.0,
    audit: Mapping[str, Any] | None = None,
    unlabelled: DecodedImages | None = None,
    track: Track = silent,
) -> PreparedData:
    """Writes the packed splits to a folder, which is replaced atomically.

    Args:
        dataset: The images with their groups, in the order of ``decoded``.
        decoded: Their pixels at every size to pack; all images must be usable.
        splits: Disjoint indices per split.
        folder: The folder to write.
        aspect_ratio: Of the sizes, see ``size_of_height``.
        audit: Counts of the audit; stored in ``dataset.json``, not part of the fingerprint.
        unlabelled: Images without labels, if any; packed at the largest size, since only training
            uses them.
        track: Progress display.
    """
    groups = group_numbers(dataset)
    sizes = (decoded.image_size, *decoded.other_sizes)
    largest, *others = (math.prod(height_and_width(size)) for size in sizes)
    pixels = sum(map(len, splits.values())) * (largest + sum(others))
    pixels = decoded.channels * (pixels + len(unlabelled or ()) * largest)
    with atomic_folder(folder, size=pixels) as temporary:
        _write_pixels(decoded, sizes, {name: splits[name] for name in SPLITS}, temporary, track)
        summary = {}
        for name in SPLITS:
            part, indices = temporary / name, list(splits[name])
            samples = [decoded.samples[index] for index in indices]
            labels = np.array([sample.label for sample in samples], dtype=np.int64)
            np.save(part / "labels.npy", labels)
            np.save(part / "groups.npy", groups[indices])
            _write_names(samples, part)
            images = (images_file(size, decoded.image_size) for size in sizes)
            files = ("groups.npy", *images, "labels.npy", "names.txt")
            summary[name] = SplitInfo(
                images=len(samples),
                per_class=np.bincount(labels, minlength=len(dataset.classes)).tolist(),
                files={file: hash_file(part / file) for file in files},
            )
        info = DatasetInfo(
            format=FORMAT,
            source=dataset.name,
            origin=dataset.origin,
            license=dataset.license,
            classes=list(dataset.classes),
            image_size=height_and_width(decoded.image_size)[0],
            fit=decoded.fit,
            channels=decoded.channels,
            aspect_ratio=aspect_ratio,
            splits=summary,
            fingerprint="",
            audit=dict(audit or {}),
            unlabelled=_write_unlabelled(unlabelled, temporary, track) if unlabelled else None,
        )
        info = replace(info, fingerprint=info.compute_fingerprint())
        write_json(temporary / "dataset.json", info.as_json())
    return PreparedData(folder, info)


def _write_unlabelled(images: DecodedImages, folder: Path, track: Track) -> UnlabelledInfo:
    part = folder / UNLABELLED.parent
    _write_pixels(images, [images.image_size], {part.name: range(len(images))}, folder, track)
    _write_names(images.samples, part)
    files = {file: hash_file(part / file) for file in (UNLABELLED.name, "names.txt")}
    return UnlabelledInfo(len(images), files)


def _write_names(samples: Sequence[Sample], folder: Path) -> None:
    names = "".join(f"{sample.name}\n" for sample in samples)
    (folder / "names.txt").write_text(names, encoding="utf-8")


def _write_pixels(
    decoded: DecodedImages,
    sizes: Sequence[ImageSize],
    parts: Mapping[str, Sequence[int]],
    folder: Path,
    track: Track,
) -> None:
    """Writes a folder per part, with a file per size, in one pass over the decoded images.

    Written, not memory-mapped: writing to a map on a full disk kills the process.
    """
    part_of = np.full(len(decoded), -1)
    row_of = np.zeros(len(decoded), dtype=np.int64)
    with ExitStack() as stack:
        files = []
        for number, (name, part) in enumerate(parts.items()):
            part_of[list(part)] = number
            row_of[list(part)] = np.arange(len(part))
            (folder / name).mkdir()
            for size in sizes:
                path = folder / name / images_file(size, decoded.image_size)
                file = stack.enter_context(path.open("wb"))
                shape = (len(part), *height_and_width(size), decoded.channels)
                header = {"descr": "|u1", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, header)
                files.append((number, size, file, file.tell()))

        def write() -> Iterator[None]:
            for indices, pixels in decoded.pixels_at(sizes):
                for number, size, file, start in files:
                    selected = part_of[indices] == number
                    images = pixels[size][selected]
                    for row, image in zip(row_of[indices[selected]], images, strict=True):
                        file.seek(start + int(row) * image.nbytes)
                        file.write(np.ascontiguousarray(image).data)
                yield from (None for _ in indices)

        for _ in track(write(), "packing", len(decoded)):
            pass
