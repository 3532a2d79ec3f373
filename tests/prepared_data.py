"""Prepared data from arrays, in the layout of ``pipeline.data.packing``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.data.prepared import (
    FORMAT,
    UNLABELLED,
    DatasetInfo,
    PreparedData,
    SplitInfo,
    UnlabelledInfo,
)
from pipeline.files import hash_file, write_json


def describe(classes, image_size, splits, **changes) -> DatasetInfo:
    """``dataset.json`` of splits, with a correct fingerprint."""
    info = DatasetInfo(
        format=FORMAT,
        source="drawn",
        origin="here",
        license="CC0",
        classes=list(classes),
        image_size=image_size,
        fit="crop",
        splits=splits,
        fingerprint="",
    )
    info = replace(info, **changes)
    return replace(info, fingerprint=info.compute_fingerprint())


def write_prepared(folder: Path, classes, splits, groups=None, **changes) -> PreparedData:
    """Writes splits, {name: (images, labels)}; by default every image is its own group."""
    infos = {}
    for name, (images, labels) in splits.items():
        part = folder / name
        part.mkdir(parents=True, exist_ok=True)
        own = np.arange(len(labels)) if groups is None else groups[name]
        np.save(part / "images.npy", np.asarray(images, dtype=np.uint8))
        np.save(part / "labels.npy", np.asarray(labels, dtype=np.int64))
        np.save(part / "groups.npy", np.asarray(own, dtype=np.int64))
        names = [f"{name}/{number}.png" for number in range(len(labels))]
        (part / "names.txt").write_text("".join(f"{each}\n" for each in names))
        files = ("groups.npy", "images.npy", "labels.npy", "names.txt")
        infos[name] = SplitInfo(
            images=len(labels),
            per_class=np.bincount(labels, minlength=len(classes)).tolist(),
            files={file: hash_file(part / file) for file in files},
        )
    size = next(iter(splits.values()))[0].shape[1]
    info = describe(classes, size, infos, **changes)
    write_json(
        folder / "dataset.json", vars(info) | {"splits": {k: vars(v) for k, v in infos.items()}}
    )
    return PreparedData(folder, info)


def write_unlabelled(data: PreparedData, images) -> PreparedData:
    """Adds images without labels, uint8 [m, size, size, 3], to prepared data."""
    path = data.folder / UNLABELLED
    path.parent.mkdir()
    np.save(path, np.asarray(images, dtype=np.uint8))
    info = replace(data.info, unlabelled=UnlabelledInfo(len(images), {path.name: hash_file(path)}))
    info = replace(info, fingerprint=info.compute_fingerprint())
    write_json(data.folder / "dataset.json", info.as_json())
    return PreparedData(data.folder, info)
