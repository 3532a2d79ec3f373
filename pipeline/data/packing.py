"""Writes the folder that ``pipeline.data.prepared`` opens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.decoding import DecodedImages
from pipeline.data.prepared import FORMAT, PreparedData
from pipeline.data.sources.base import SPLITS, ImageDataset, SplitName
from pipeline.files import atomic_folder, hash_file, hash_value, write_json
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

    All images of ``decoded`` must be usable, and the splits must be disjoint. ``audit``, the counts
    of the audit, is stored in ``dataset.json`` but is not part of the fingerprint.
    """
    size = decoded.image_size
    with atomic_folder(folder) as temporary:
        images = {}
        for name in SPLITS:
            (temporary / name).mkdir()
            path, shape = temporary / name / "images.npy", (len(splits[name]), size, size, 3)
            images[name] = np.lib.format.open_memmap(path, "w+", np.uint8, shape)
        _copy_pixels(decoded, splits, images, track)
        summary = {}
        for name in SPLITS:
            samples = [decoded.samples[index] for index in splits[name]]
            labels = np.array([sample.label for sample in samples], dtype=np.int64)
            np.save(temporary / name / "labels.npy", labels)
            names = "".join(f"{sample.name}\n" for sample in samples)
            (temporary / name / "names.txt").write_text(names, encoding="utf-8")
            files = ("images.npy", "labels.npy", "names.txt")
            summary[name] = {
                "images": len(samples),
                "per_class": np.bincount(labels, minlength=len(dataset.classes)).tolist(),
                "files": {file: hash_file(temporary / name / file) for file in files},
            }
        info = {
            "format": FORMAT,
            "source": dataset.name,
            "origin": dataset.origin,
            "licence": dataset.license,  # this spelling is part of format 1 and the fingerprint
            "classes": list(dataset.classes),
            "image_size": size,
            "fit": decoded.fit,
            "splits": summary,
        }
        info["fingerprint"] = hash_value(info)
        if audit is not None:
            info["audit"] = dict(audit)
        write_json(temporary / "dataset.json", info)
    return PreparedData(folder, info)


def _copy_pixels(
    decoded: DecodedImages,
    splits: Mapping[SplitName, Sequence[int]],
    images: Mapping[SplitName, NDArray[np.uint8]],
    track: Track,
) -> None:
    """Copies all pixels in one pass, in the order in which they are stored."""
    split_of = np.full(len(decoded), -1)
    row_of = np.zeros(len(decoded), dtype=np.int64)
    for number, name in enumerate(SPLITS):
        split_of[list(splits[name])] = number
        row_of[list(splits[name])] = np.arange(len(splits[name]))

    def copy() -> Iterator[None]:
        for indices, pixels in decoded.pixels():
            for number, name in enumerate(SPLITS):
                selected = split_of[indices] == number
                images[name][row_of[indices[selected]]] = pixels[selected]
            yield from (None for _ in indices)

    for _ in track(copy(), "packing", len(decoded)):
        pass
    for packed in images.values():
        packed.flush()  # type: ignore[attr-defined]
