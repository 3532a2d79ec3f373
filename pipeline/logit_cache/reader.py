"""Files of a logit cache, and opening one that belongs to a teacher, data and view recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ArtefactError
from pipeline.files import open_array, read_json
from pipeline.logit_cache.key import CacheKey

FORMAT = 2
INFO = "cache.json"
LOGITS = "logits.npy"
VIEWS = "views.npy"


def read_cache(folder: Path, key: CacheKey, views: int | None = None) -> dict[str, Any]:
    """Reads and checks ``cache.json``.

    Args:
        folder: Folder of the cache.
        key: Expected key.
        views: Expected number of views per image; 0 for an empty cache, any number when None.

    Raises:
        ArtefactError: The file is missing, has another format, or belongs to other inputs.
    """
    path = folder / INFO
    info = read_json(path)
    if info.get("format") != FORMAT:
        raise ArtefactError(path, f"has format {info.get('format')!r}, expected {FORMAT}")
    stale = [name for name, value in vars(key).items() if info["key"].get(name) != value]
    if stale:
        made_from = {"teacher": "another teacher", "data": "other data", "views": "other views"}
        raise ArtefactError(path, f"was made from {' and '.join(made_from[n] for n in stale)}")
    found = info["shape"][0]
    if views is not None and found != views:
        raise ArtefactError(path, f"was made with cache_logits.views = {found}, expected {views}")
    return info


def open_logit_cache(folder: Path, key: CacheKey) -> NDArray[np.floating]:
    """Opens the logits of a cache.

    Returns:
        float16 or float32 [K, n, classes], memory-mapped.

    Raises:
        ArtefactError: The cache is missing, truncated, empty (K = 0), or belongs to other inputs.
    """
    info = read_cache(folder, key)
    if info["shape"][0] == 0:
        raise ArtefactError(
            folder / INFO,
            "holds no logits: it was made with cache_logits.views = 0",
            "set cache_logits.views to 1 or more, then run `finch cache-logits`",
        )
    return _open(folder / LOGITS, info["shape"], info["dtype"])


def open_packed_views(folder: Path) -> NDArray[np.uint8] | None:
    """Opens the packed views of a cache that ``open_logit_cache`` has checked.

    Returns:
        uint8 [K, n, size, size, 3], memory-mapped; None when the views are not packed.

    Raises:
        ArtefactError: The file is missing or truncated.
    """
    info = read_json(folder / INFO)
    if info["views_sha256"] is None:
        return None
    return _open(folder / VIEWS, info["shape"][:2], "uint8")


def _open(path: Path, shape: list[int], dtype: str) -> NDArray[Any]:
    """Opens an array and checks its dtype and first dimensions."""
    array = open_array(path)
    if list(array.shape[: len(shape)]) != shape or str(array.dtype) != dtype:
        raise ArtefactError(path, f"holds {array.dtype} {array.shape}, unlike {INFO}")
    return array
