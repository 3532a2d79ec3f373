"""Images of two classes, packed as `prepare` packs them."""

import numpy as np
import pytest
from PIL import Image

from pipeline.data.decoding import decode
from pipeline.data.packing import pack
from pipeline.data.sources import ImageDataset, Sample

SIZE = 16


@pytest.fixture
def source(tmp_path):
    """Eight drawn images of two classes, of odd sizes and modes."""
    rng = np.random.default_rng(0)
    samples = []
    for index in range(8):
        height, width = rng.integers(10, 60, 2)
        image = Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
        path = tmp_path / "samples" / f"{index}.png"
        path.parent.mkdir(exist_ok=True)
        image.convert("L" if index == 3 else "RGB").save(path)
        samples.append(Sample(path, f"фото/{index}.png", index % 2))
    return ImageDataset("drawn", ("cat", "dog"), tuple(samples), license="CC0", origin="here")


@pytest.fixture
def split():
    return {"train": [0, 3, 4, 7], "val": [1, 6], "test": [2, 5]}


@pytest.fixture
def prepare(source, split, tmp_path):
    """Decodes and packs the images, by default into `prepared`."""

    def run(
        changed=source,
        splits=split,
        folder="prepared",
        fit="crop",
        workers=1,
        other_sizes=(),
        channels=3,
        image_size=SIZE,
        **options,
    ):
        decoded = decode(
            changed.samples,
            tmp_path / "work",
            image_size=image_size,
            fit=fit,
            other_sizes=other_sizes,
            channels=channels,
            workers=workers,
        )
        return pack(changed, decoded, splits, tmp_path / folder, **options)

    return run
