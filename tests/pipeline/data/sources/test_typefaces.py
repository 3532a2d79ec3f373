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
from pipeline.data.sources.typefaces import draw_typefaces, find_typefaces
from pipeline.errors import DataError
from pipeline.params import Prepare, Typefaces

PROJECT = Path(__file__).parents[4]
# matplotlib's are always installed, those of the extra `typefaces` may not be.
FEW = 12


def few(**options):
    return draw_typefaces(Typefaces(classes=FEW, **options))


def pixels(photo):
    with Image.open(io.BytesIO(photo.read())) as image:
        return np.asarray(image)


def test_the_extra_brings_sixty_typefaces_and_more():
    if importlib.util.find_spec("font_roboto") is None:
        pytest.skip("the typefaces come with the extra `typefaces`")
    names = {ImageFont.truetype(file).getname() for file, _ in find_typefaces()}
    assert len(names) == len(find_typefaces()) >= 60


def test_every_typeface_draws_every_letter_as_a_shape_of_its_own():
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
    for file, _ in find_typefaces():
        font = ImageFont.truetype(file, 60, layout_engine=ImageFont.Layout.BASIC)
        shapes = {bytes(font.getmask(letter)) for letter in letters}
        # Of a letter that is not there, all typefaces show the same box.
        assert len(shapes) == len(letters), file.name


def test_a_photograph_is_a_function_of_seed_typeface_and_number():
    more = read_source(
        Prepare(source="typefaces", typefaces=Typefaces(classes=FEW + 2, images_per_class=5))
    )
    fewer = few(images_per_class=3)
    again = {photo.name: photo for photo in more.photos}
    for photo in fewer.photos[::4]:
        assert photo.read() == again[photo.name].read() == pickle.loads(pickle.dumps(photo)).read()
    other = few(images_per_class=3, seed=1)
    drawn = [photo.read() for photo in (*fewer.photos, *other.photos)]
    assert len(set(drawn)) == len(drawn)


def test_another_process_draws_the_same_bytes():
    code = (
        "import hashlib; from pipeline.params import Typefaces;"
        "from pipeline.data.sources.typefaces import draw_typefaces;"
        f"s = draw_typefaces(Typefaces(classes={FEW}, images_per_class=4));"
        "print([hashlib.sha256(p.read()).hexdigest() for p in s.photos[::5]])"
    )
    made = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    import hashlib

    source = few(images_per_class=4)
    ours = [hashlib.sha256(photo.read()).hexdigest() for photo in source.photos[::5]]
    assert made.stdout.strip() == str(ours)


def test_names_are_unique_and_the_licences_of_the_typefaces_are_stated():
    source = few(images_per_class=7)
    assert len({photo.name for photo in source.photos}) == FEW * 7 == len(source.photos)
    assert source.classes[0] == "DejaVuSans-Bold"
    assert "Bitstream Vera" in source.licence


def test_the_typeface_shows_and_nothing_else_tells_the_classes_apart():
    """Ink is told from paper by contrast, colours differ within a class as between classes."""
    source = few(images_per_class=30)
    shots = np.stack([pixels(photo) for photo in source.photos])
    assert shots.shape == (FEW * 30, 128, 128, 3)
    grey = shots.mean(axis=3)
    assert np.median(grey.std(axis=(1, 2))) > 25
    # Mean colour predicts the typeface no better than chance: nearest neighbour, 1 in 12.
    labels = np.array([photo.label for photo in source.photos])
    colours = shots.mean(axis=(1, 2))
    distances = cdist(colours, colours)
    np.fill_diagonal(distances, np.inf)
    hits = (labels[distances.argmin(axis=1)] == labels).mean()
    assert hits < 3 / FEW


def test_too_few_typefaces_are_refused_with_what_to_install(monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: real(name) if name == "matplotlib" else None
    )
    assert len(draw_typefaces(Typefaces(classes=FEW)).classes) == FEW
    with pytest.raises(DataError, match=r"classes = 60.*only \d+ .*finch-edge\[typefaces\]"):
        draw_typefaces(Typefaces())
