"""Photographs to measure with: a runtime may be faster on zeros."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from finch_runtime.errors import RuntimeProblem
from finch_runtime.images import load_image
from numpy.typing import NDArray
from PIL import Image

from pipeline.data.prepared import open_prepared
from pipeline.data.sources import Photo, read_source
from pipeline.errors import DataError
from pipeline.params import Prepare

_MOST = 32  # latency hangs neither on many pictures nor on well-set int8 ranges


@dataclass(frozen=True)
class Photographs:
    """Some photographs, and what is known of where they come from.

    Attributes:
        source: Name of the data set.
        classes: How many classes it has.
        fit: ``crop`` or ``stretch``.
        files: Encoded images.
    """

    source: str
    classes: int
    fit: str
    files: tuple[bytes, ...]

    def at(self, size: int) -> NDArray[np.uint8]:
        """The photographs as a device would load them: uint8 [n, size, size, 3], RGB."""
        return np.stack([load_image(io.BytesIO(file), size, self.fit) for file in self.files])


def find_photographs(prepared: Path, prepare: Prepare) -> Photographs:
    """Takes photographs out of the prepared training split or, without one, of the source.

    Args:
        prepared: Folder of the prepared data.
        prepare: Names the source, and how a photograph becomes square.

    Raises:
        ArtefactError: The prepared data is damaged.
        DataError: The source is not there, or none of the photographs looked at can be read.
    """
    if (prepared / "dataset.json").is_file():
        data = open_prepared(prepared)
        images = data.split("train").images
        files = tuple(_as_png(images[i]) for i in _spread(len(images)))
        return Photographs(data.info["source"], len(data.classes), prepare.fit, files)
    source = read_source(prepare)
    photos = [photo for photo in source.photos if photo.split != "test"]
    # A damaged photograph is for `prepare` to complain of.
    files = tuple(_readable([photos[i] for i in _spread(len(photos))]))
    if not files:
        raise DataError(
            f"source {source.name!r}", "none of its photographs can be read", "run `finch prepare`"
        )
    return Photographs(source.name, len(source.classes), prepare.fit, files)


def _spread(count: int) -> list[int]:
    """Places all over a set, so that all kinds of its photographs are among them."""
    return [round(place) for place in np.linspace(0, count - 1, min(_MOST, count)).tolist()]


def _as_png(pixels: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()


def _readable(photos: Sequence[Photo]) -> Iterator[bytes]:
    for photo in photos:
        try:
            file = photo.read()
            load_image(io.BytesIO(file), 16, "crop")
        except (OSError, RuntimeProblem):
            continue
        yield file
