"""The teacher answers once: its logits on K seeded views of every training image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.data.prepared import PreparedData, Split
from pipeline.errors import ArtefactError, TrainingError
from pipeline.files import read_json, whole_folder, write_json
from pipeline.hashing import hash_file, hash_value
from pipeline.models.classifier import Classifier
from pipeline.params import Views
from pipeline.progress import Track, silent
from pipeline.views import make_views, to_bytes, to_unit_range

FORMAT = 2
VIEWS = "views.npy"


@dataclass(frozen=True)
class CacheKey:
    """What a cache was made from; with any other teacher, data or recipe it says nothing.

    Attributes:
        teacher: SHA-256 of the teacher's weights.
        data: Fingerprint of the prepared data.
        views: SHA-256 of the view recipe.
    """

    teacher: str
    data: str
    views: str


def cache_key(teacher_sha256: str, data: PreparedData, recipe: Views) -> CacheKey:
    """The key under which a cache is valid."""
    return CacheKey(teacher_sha256, data.fingerprint, hash_value(recipe.model_dump()))


def check_classes(teacher: Sequence[str], student: Sequence[str]) -> None:
    """Holds a teacher to the classes that a student is to learn.

    Args:
        teacher: Class names in the order of the teacher's logits.
        student: Class names in the order of the data's labels.

    Raises:
        TrainingError: They differ in number, name or order.
    """
    if len(teacher) != len(student):
        problem = f"knows {len(teacher)} classes, the student is to learn {len(student)}"
    else:
        pairs = zip(teacher, student, strict=True)
        differ = next(((i, a, b) for i, (a, b) in enumerate(pairs) if a != b), None)
        if differ is None:
            return
        problem = "knows class {} as {!r}, the student is to learn {!r}".format(*differ)
    raise TrainingError("the teacher", problem, "fine-tune the teacher on this data")


def write_logit_cache(
    folder: Path,
    teacher: Classifier,
    key: CacheKey,
    data: PreparedData,
    recipe: Views,
    *,
    views: int,
    dtype: Literal["float16", "float32"],
    batch_size: int,
    device: torch.device,
    pack_views: bool = False,
    track: Track = silent,
) -> dict[str, Any]:
    """Runs the teacher on every view and packs its logits in one file, [K, n, classes].

    Args:
        folder: Replaced as a whole: ``logits.npy`` and ``cache.json``.
        teacher: In evaluation mode.
        key: What the cache is made from.
        data: Its training split is answered.
        recipe: What a view is.
        views: K, the number of views per image.
        dtype: Type of the stored logits.
        batch_size: Views the teacher sees at once.
        device: Where the teacher runs.
        pack_views: Keep the views too, as uint8 ``views.npy`` [K, n, size, size, 3]. The teacher
            then sees the rounded pixels, just as the student will.
        track: Shows progress.

    Returns:
        What ``cache.json`` holds.

    Raises:
        TrainingError: The teacher knows other classes, or its logits are not finite or do not fit
            the type.
    """
    check_classes(teacher.spec.classes, data.classes)
    split = data.split("train")
    shape = (views, len(split), len(data.classes))
    steps = [(k, s) for k in range(views) for s in range(0, len(split), batch_size)]
    right = 0
    with whole_folder(folder) as temporary:
        path = temporary / "logits.npy"
        packed = np.lib.format.open_memmap(path, mode="w+", dtype=np.dtype(dtype), shape=shape)
        seen = _new_views(temporary / VIEWS, views, split) if pack_views else None
        with torch.inference_mode():
            for view, start in track(steps, "asking the teacher", len(steps)):
                places = np.arange(start, min(start + batch_size, len(split)))
                pixels = make_views(split.images[places], places, view, recipe, device)
                if seen is not None:
                    seen[view, places] = to_bytes(pixels)
                    pixels = to_unit_range(seen[view, places], device)
                with np.errstate(over="ignore"):  # told below, with the images
                    packed[view, places] = teacher(pixels).float().cpu().numpy()
                answers = packed[view, places]
                if not np.isfinite(answers).all():
                    raise TrainingError(
                        f"the teacher's logits on view {view}, images {start} to {places[-1]}",
                        f"are not finite as {dtype}",
                        "set cache_logits.dtype to float32, or fine-tune the teacher again",
                    )
                right += int((answers.argmax(1) == split.labels[places]).sum())
        packed.flush()
        if seen is not None:
            seen.flush()
        info = {
            "format": FORMAT,
            "key": vars(key),
            "shape": list(shape),
            "dtype": dtype,
            "sha256": hash_file(path),
            "views_sha256": hash_file(temporary / VIEWS) if pack_views else None,
            "train_accuracy": right / (shape[0] * shape[1]),
        }
        write_json(temporary / "cache.json", info)
    return info


def open_logit_cache(folder: Path, key: CacheKey) -> NDArray[np.floating]:
    """Opens a cache made from just this teacher, data and view recipe.

    Returns:
        float16 or float32 [K, n, classes], memory-mapped.

    Raises:
        ArtefactError: It is missing or truncated, or was made from something else.
    """
    info = read_json(folder / "cache.json")
    if info.get("format") != FORMAT:
        raise ArtefactError(
            folder / "cache.json", f"has format {info.get('format')!r}, this Finch reads {FORMAT}"
        )
    stale = [name for name, value in vars(key).items() if info["key"].get(name) != value]
    if stale:
        made_from = {"teacher": "another teacher", "data": "other data", "views": "other views"}
        raise ArtefactError(
            folder / "cache.json", f"was made from {' and '.join(made_from[n] for n in stale)}"
        )
    path = folder / "logits.npy"
    logits: NDArray[np.floating] = _open_array(path)
    if list(logits.shape) != info["shape"] or str(logits.dtype) != info["dtype"]:
        raise ArtefactError(path, f"holds {logits.dtype} {logits.shape}, not what cache.json says")
    return logits


def open_packed_views(folder: Path) -> NDArray[np.uint8] | None:
    """The views of a cache that ``open_logit_cache`` has accepted.

    Returns:
        uint8 [K, n, size, size, 3], memory-mapped; None when they were not packed.

    Raises:
        ArtefactError: The file is missing or truncated.
    """
    info = read_json(folder / "cache.json")
    if info["views_sha256"] is None:
        return None
    pixels: NDArray[np.uint8] = _open_array(folder / VIEWS)
    if list(pixels.shape[:2]) != info["shape"][:2] or pixels.dtype != np.uint8:
        raise ArtefactError(
            folder / VIEWS, f"holds {pixels.dtype} {pixels.shape}, not what cache.json says"
        )
    return pixels


def _new_views(path: Path, views: int, split: Split) -> np.memmap[Any, np.dtype[np.uint8]]:
    shape = (views, *split.images.shape)
    return np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)


def _open_array(path: Path) -> NDArray[Any]:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]
    except FileNotFoundError:
        raise ArtefactError(path, "is missing") from None
    except (ValueError, EOFError, OSError) as error:
        raise ArtefactError(path, f"is truncated or not a NumPy file ({error})") from None
