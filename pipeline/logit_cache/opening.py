"""Opens a logit cache, if it is of this teacher, data and view recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ArtefactError
from pipeline.files import open_array, read_json
from pipeline.logit_cache.key import CacheKey
from pipeline.logit_cache.layout import FORMAT, INFO, LOGITS, VIEWS


def read_cache(folder: Path, key: CacheKey, views: int | None = None) -> dict[str, Any]:
    """What ``cache.json`` says of a cache made from just this teacher, data and view recipe.

    Args:
        folder: Of the cache.
        key: What it must have been made from.
        views: K, the number of views per image that it must have been made with; 0 is that of a
            cache that holds nothing, since the teacher runs live. Any number when None.

    Raises:
        ArtefactError: It is missing, of another format, or was made from something else.
    """
    path = folder / INFO
    info = read_json(path)
    if info.get("format") != FORMAT:
        raise ArtefactError(path, f"has format {info.get('format')!r}, this Finch reads {FORMAT}")
    stale = [name for name, value in vars(key).items() if info["key"].get(name) != value]
    if stale:
        made_from = {"teacher": "another teacher", "data": "other data", "views": "other views"}
        raise ArtefactError(path, f"was made from {' and '.join(made_from[n] for n in stale)}")
    if views is not None and info["shape"][0] != views:
        raise ArtefactError(
            path, f"was made with cache_logits.views = {info['shape'][0]}, which is {views} now"
        )
    return info


def open_logit_cache(folder: Path, key: CacheKey) -> NDArray[np.floating]:
    """Opens a cache made from just this teacher, data and view recipe.

    Returns:
        float16 or float32 [K, n, classes], memory-mapped.

    Raises:
        ArtefactError: It is missing or truncated, was made from something else, or holds no
            logits, since it was made with K = 0.
    """
    info = read_cache(folder, key)
    if info["shape"][0] == 0:
        raise ArtefactError(
            folder / INFO,
            "holds no logits: it was made with cache_logits.views = 0",
            "set cache_logits.views to 1 or more, then run `finch cache-logits`",
        )
    path = folder / LOGITS
    logits: NDArray[np.floating] = open_array(path)
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
    info = read_json(folder / INFO)
    if info["views_sha256"] is None:
        return None
    pixels: NDArray[np.uint8] = open_array(folder / VIEWS)
    if list(pixels.shape[:2]) != info["shape"][:2] or pixels.dtype != np.uint8:
        raise ArtefactError(
            folder / VIEWS, f"holds {pixels.dtype} {pixels.shape}, not what cache.json says"
        )
    return pixels
