"""Real images for the measurements, since a runtime can be faster on zeros."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from finch_runtime.errors import RuntimeProblem
from finch_runtime.image_size import ImageSize
from finch_runtime.images import load_image
from numpy.typing import NDArray
from PIL import Image

from pipeline.aspect_ratio import size_of_height
from pipeline.data.naming import data_name
from pipeline.data.prepared import open_prepared
from pipeline.data.sources import Sample, read_source
from pipeline.errors import DataError
from pipeline.params import Prepare

_COUNT = 32  # enough, since latency does not depend on accurate int8 ranges


@dataclass(frozen=True)
class ScoutImages:
    """A few images of a data set.

    Attributes:
        source: Name of the data set.
        classes: Number of its classes.
        fit: How an image gets the shape of the input, see ``load_image``.
        channels: 3 for RGB, 1 for gray.
        files: Encoded images.
        aspect_ratio: Width of the input divided by its height.
    """

    source: str
    classes: int
    fit: str
    channels: int
    files: tuple[bytes, ...]
    aspect_ratio: float = 1.0

    def size_at(self, height: int) -> ImageSize:
        """The size of an input with this height in pixels."""
        return size_of_height(height, self.aspect_ratio)

    def at(self, height: int) -> NDArray[np.uint8]:
        """The images as a device would load them, uint8 [n, height, width, channels]."""
        options = (self.size_at(height), self.fit, self.channels)
        return np.stack([load_image(io.BytesIO(file), *options) for file in self.files])


def find_images(prepared: Path, prepare: Prepare) -> ScoutImages:
    """Reads images of the prepared training split or, if there is none, of the source.

    Raises:
        ArtifactError: The prepared data is damaged.
        DataError: The source is missing, or no image of it can be read.
    """
    if (prepared / "dataset.json").is_file():
        data = open_prepared(prepared)
        images = data.split("train").images
        files = tuple(_to_png(images[i]) for i in _spread(len(images)))
        name = data_name(data.info.source, data.info.origin)
        return _images(name, len(data.classes), prepare, files)
    source = read_source(prepare)
    samples = [sample for sample in source.samples if sample.split != "test"]
    # Skips damaged images; `prepare` reports them.
    files = tuple(_readable([samples[i] for i in _spread(len(samples))]))
    if not files:
        raise DataError(f"source {source.name!r}", "no image can be read", "run `finch prepare`")
    name = data_name(source.name, source.origin)
    return _images(name, len(source.classes), prepare, files)


def _images(name: str, classes: int, prepare: Prepare, files: tuple[bytes, ...]) -> ScoutImages:
    return ScoutImages(name, classes, prepare.fit, prepare.channels, files, prepare.aspect_ratio)


def _spread(count: int) -> list[int]:
    """Indices spread over the whole data set, for variety."""
    return [round(index) for index in np.linspace(0, count - 1, min(_COUNT, count)).tolist()]


def _to_png(pixels: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[..., 0]).save(file, format="PNG")
    return file.getvalue()


def _readable(samples: Sequence[Sample]) -> Iterator[bytes]:
    for sample in samples:
        try:
            file = sample.read()
            load_image(io.BytesIO(file), 16, "crop")
        except (OSError, RuntimeProblem):
            continue
        yield file
