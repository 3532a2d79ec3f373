import hashlib
import importlib.util
import io
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFont
from scipy.spatial.distance import cdist

from pipeline.data.sources import read_source
from pipeline.data.sources.typefaces import find_typefaces
from pipeline.errors import DataError
from pipeline.params import prepare_model

PROJECT = Path(__file__).parents[4]
# matplotlib's are always installed, those of the extra `typefaces` may not be.
FEW = 12


def few(**options):
    options = {"classes": FEW, **options}
    return read_source(prepare_model()(source="typefaces", typefaces=options))


def pixels(sample):
    with Image.open(io.BytesIO(sample.read())) as image:
        return np.asarray(image)


def test_the_extra_installs_at_least_sixty_typefaces():
    if importlib.util.find_spec("font_roboto") is None:
        pytest.skip("the typefaces come with the extra `typefaces`")
    names = {ImageFont.truetype(file).getname() for file, _ in find_typefaces()}
    assert len(names) == len(find_typefaces()) >= 60


def test_every_typeface_has_a_distinct_shape_for_every_letter():
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
    for file, _ in find_typefaces():
        font = ImageFont.truetype(file, 60, layout_engine=ImageFont.Layout.BASIC)
        shapes = {bytes(font.getmask(letter)) for letter in letters}
        # Missing letters are all rendered as the same box.
        assert len(shapes) == len(letters), file.name


def test_an_image_is_a_function_of_seed_typeface_and_number():
    more, fewer = few(classes=FEW + 2, images_per_class=5), few(images_per_class=3)
    again = {sample.name: sample for sample in more.samples}
    for sample in fewer.samples[::4]:
        assert (
            sample.read() == again[sample.name].read() == pickle.loads(pickle.dumps(sample)).read()
        )
    other = few(images_per_class=3, seed=1)
    drawn = [sample.read() for sample in (*fewer.samples, *other.samples)]
    assert len(set(drawn)) == len(drawn)


def test_another_process_renders_the_same_bytes():
    code = (
        "import hashlib; from pathlib import Path;"
        "from pipeline.data.sources.typefaces import Typefaces;"
        f"samples = Typefaces(classes={FEW}, images_per_class=4).read(Path()).samples;"
        "print([hashlib.sha256(sample.read()).hexdigest() for sample in samples[::5]])"
    )
    made = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    source = few(images_per_class=4)
    ours = [hashlib.sha256(sample.read()).hexdigest() for sample in source.samples[::5]]
    assert made.stdout.strip() == str(ours)


def test_names_are_unique_and_the_typefaces_licenses_are_stated():
    source = few(images_per_class=7)
    assert len({sample.name for sample in source.samples}) == FEW * 7 == len(source.samples)
    assert source.classes[0] == "DejaVuSans-Bold"
    assert "Bitstream Vera" in source.license


def test_only_the_typeface_distinguishes_the_classes():
    """Text has contrast, and colors vary as much within a class as between classes."""
    source = few(images_per_class=30)
    shots = np.stack([pixels(sample) for sample in source.samples])
    assert shots.shape == (FEW * 30, 128, 128, 3)
    gray = shots.mean(axis=3)
    assert np.median(gray.std(axis=(1, 2))) > 25
    # Mean color predicts the typeface no better than chance: nearest neighbor, 1 in 12.
    labels = np.array([sample.label for sample in source.samples])
    colors = shots.mean(axis=(1, 2))
    distances = cdist(colors, colors)
    np.fill_diagonal(distances, np.inf)
    hits = (labels[distances.argmin(axis=1)] == labels).mean()
    assert hits < 3 / FEW


def test_too_few_typefaces_raise_an_error_with_the_extra_to_install(monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: real(name) if name == "matplotlib" else None
    )
    assert len(few().classes) == FEW
    with pytest.raises(DataError, match=r"classes = 60.*finch-edge\[typefaces\]"):
        few(classes=60)
