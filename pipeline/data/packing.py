"""Writes the folder that ``pipeline.data.prepared`` opens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data.decoding import DecodedImages
from pipeline.data.prepared import FORMAT, DatasetInfo, PreparedData, SplitInfo, images_file
from pipeline.data.sources.base import SPLITS, ImageDataset, SplitName
from pipeline.data.split import group_numbers
from pipeline.files import atomic_folder, hash_file, write_json
from pipeline.progress import Track, silent


def pack(
    dataset: ImageDataset,
    decoded: DecodedImages,
    splits: Mapping[SplitName, Sequence[int]],
    folder: Path,
    *,
    audit: Mapping[str, Any] | None = None,
    track: Track = silent,
) -> PreparedData:
    """Writes the packed splits to a folder, which is replaced atomically.

    Args:
        dataset: The images with their groups, in the order of ``decoded``.
        decoded: Their pixels at every size to pack; all images must be usable.
        splits: Disjoint indices per split.
        folder: The folder to write.
        audit: Counts of the audit; stored in ``dataset.json``, not part of the fingerprint.
        track: Progress display.
    """
    groups = group_numbers(dataset)
    sizes = (decoded.image_size, *decoded.other_sizes)
    per_image = 3 * sum(size**2 for size in sizes)
    with atomic_folder(folder, size=sum(map(len, splits.values())) * per_image) as temporary:
        for name in SPLITS:
            (temporary / name).mkdir()
        _write_pixels(decoded, sizes, splits, temporary, track)
        summary = {}
        for name in SPLITS:
            part, indices = temporary / name, list(splits[name])
            samples = [decoded.samples[index] for index in indices]
            labels = np.array([sample.label for sample in samples], dtype=np.int64)
            np.save(part / "labels.npy", labels)
            np.save(part / "groups.npy", groups[indices])
            names = "".join(f"{sample.name}\n" for sample in samples)
            (part / "names.txt").write_text(names, encoding="utf-8")
            pixels = (images_file(size, decoded.image_size) for size in sizes)
            files = ("groups.npy", *pixels, "labels.npy", "names.txt")
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
            image_size=decoded.image_size,
            fit=decoded.fit,
            splits=summary,
            fingerprint="",
            audit=dict(audit or {}),
        )
        info = replace(info, fingerprint=info.compute_fingerprint())
        write_json(temporary / "dataset.json", asdict(info))
    return PreparedData(folder, info)


def _write_pixels(
    decoded: DecodedImages,
    sizes: Sequence[int],
    splits: Mapping[SplitName, Sequence[int]],
    folder: Path,
    track: Track,
) -> None:
    """Writes the pixels of all sizes in one pass, in the order in which they are stored.

    Written, not memory-mapped: writing to a map on a full disk kills the process.
    """
    split_of = np.full(len(decoded), -1)
    row_of = np.zeros(len(decoded), dtype=np.int64)
    with ExitStack() as stack:
        files = []
        for number, name in enumerate(SPLITS):
            split_of[list(splits[name])] = number
            row_of[list(splits[name])] = np.arange(len(splits[name]))
            for size in sizes:
                path = folder / name / images_file(size, decoded.image_size)
                file = stack.enter_context(path.open("wb"))
                shape = (len(splits[name]), size, size, 3)
                header = {"descr": "|u1", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, header)
                files.append((number, size, file, file.tell()))

        def write() -> Iterator[None]:
            for indices, pixels in decoded.pixels_at(sizes):
                for number, size, file, start in files:
                    selected = split_of[indices] == number
                    images = pixels[size][selected]
                    for row, image in zip(row_of[indices[selected]], images, strict=True):
                        file.seek(start + int(row) * image.nbytes)
                        file.write(np.ascontiguousarray(image).data)
                yield from (None for _ in indices)

        for _ in track(write(), "packing", len(decoded)):
            pass
