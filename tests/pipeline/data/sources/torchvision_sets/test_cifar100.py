import hashlib
import io
import pickle

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import CIFAR100

from pipeline.data.sources import read_source
from pipeline.errors import DataError
from pipeline.params import Prepare

NAMES = ["apple", "aquarium_fish", "baby"]


class Bomb:
    """What a forged file could hold: code that runs as soon as it is unpickled."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('it ran')",))


def write(path, entry):
    path.write_bytes(pickle.dumps(entry))
    return [path.name, hashlib.md5(path.read_bytes()).hexdigest()]


@pytest.fixture
def published(tmp_path, monkeypatch):
    """Three classes in the published layout, with checksums of their own."""
    base = tmp_path / "cifar-100-python"
    base.mkdir()
    rng = np.random.default_rng(0)
    pixels = {}
    for split, count in (("train", 9), ("test", 3)):
        # Planes of red, green and blue, row by row.
        pixels[split] = rng.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)
        entry = {
            "data": pixels[split].reshape(count, -1),
            "fine_labels": [n % 3 for n in range(count)],
            "coarse_labels": [0] * count,
        }
        monkeypatch.setattr(CIFAR100, f"{split}_list", [write(base / split, entry)])
    name, checksum = write(base / "meta", {"fine_label_names": NAMES, "coarse_label_names": ["a"]})
    meta = {"filename": name, "key": "fine_label_names", "md5": checksum}
    monkeypatch.setattr(CIFAR100, "meta", meta)
    return tmp_path, pixels


def test_samples_have_the_pixels_fine_labels_and_splits_of_the_arrays(published):
    root, pixels = published
    source = read_source(Prepare(source="cifar100", path=str(root)))
    assert source.classes == tuple(NAMES)
    for split, names in (("train", range(9)), ("test", range(3))):
        samples = [sample for sample in source.samples if sample.split == split]
        assert [sample.name for sample in samples] == [f"{split}/{n:05}.ppm" for n in names]
        for number, sample in enumerate(samples):
            assert sample.label == number % 3
            with Image.open(io.BytesIO(pickle.loads(pickle.dumps(sample)).read())) as image:
                assert np.array_equal(np.asarray(image), pixels[split][number].transpose(1, 2, 0))


def test_a_pickled_sample_contains_one_image(published):
    source = read_source(Prepare(source="cifar100", path=str(published[0])))
    assert len(pickle.dumps(source.samples[0])) < 2 * 3 * 32 * 32


@pytest.mark.parametrize("name", ["train", "test", "meta"])
def test_a_modified_file_is_not_unpickled(published, name):
    root, _ = published
    (root / "cifar-100-python" / name).write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(DataError, match=r"CIFAR100 cannot be read.*corrupted"):
        read_source(Prepare(source="cifar100", path=str(root)))
