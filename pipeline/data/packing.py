"""Decoded photographs to a prepared folder: what ``pipeline.data.prepared`` opens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.decoded import Decoded
from pipeline.data.prepared import FORMAT, PreparedData
from pipeline.data.sources.photos import SPLITS, Source, SplitName
from pipeline.files import hash_file, hash_value, whole_folder, write_json
from pipeline.progress import Track, silent


def pack(
    source: Source,
    decoded: Decoded,
    splits: Mapping[SplitName, Sequence[int]],
    folder: Path,
    *,
    audit: Mapping[str, Any] | None = None,
    track: Track = silent,
) -> PreparedData:
    """Writes the packed splits.

    The pixels were made by the device runtime's own ``load_image``, so that a student is trained
    on just what a device will show it.

    Args:
        source: Class names and origin of the photographs.
        decoded: The photographs, all of them usable.
        splits: Places in ``decoded`` per split; none in more than one.
        folder: Where to write; replaced as a whole.
        audit: Figures of the audit, kept in ``dataset.json``; the fingerprint leaves them out.
        track: Shows progress.
    """
    size = decoded.image_size
    with whole_folder(folder) as temporary:
        images = {}
        for name in SPLITS:
            (temporary / name).mkdir()
            images[name] = np.lib.format.open_memmap(
                temporary / name / "images.npy",
                mode="w+",
                dtype=np.uint8,
                shape=(len(splits[name]), size, size, 3),
            )
        _copy_pixels(decoded, splits, images, track)
        summary = {}
        for name in SPLITS:
            photos = [decoded.photos[place] for place in splits[name]]
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
    decoded: Decoded,
    splits: Mapping[SplitName, Sequence[int]],
    images: Mapping[SplitName, NDArray[np.uint8]],
    track: Track,
) -> None:
    """One pass over the decoded pixels, in whatever order they lie."""
    split_of = np.full(len(decoded), -1)
    row_of = np.zeros(len(decoded), dtype=np.int64)
    for number, name in enumerate(SPLITS):
        split_of[list(splits[name])] = number
        row_of[list(splits[name])] = np.arange(len(splits[name]))

    def copy() -> Iterator[None]:
        for places, pixels in decoded.pixels():
            for number, name in enumerate(SPLITS):
                here = split_of[places] == number
                images[name][row_of[places[here]]] = pixels[here]
            yield from (None for _ in places)

    for _ in track(copy(), "packing", len(decoded)):
        pass
    for packed in images.values():
        packed.flush()  # type: ignore[attr-defined]
