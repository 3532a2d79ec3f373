"""Rendered images of printed text; a class is a typeface."""

from __future__ import annotations

import importlib.util
import zlib
from functools import lru_cache, partial
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from pydantic import Field

from pipeline.data.sources.base import DataSource, Listing, Sample, encode_ppm
from pipeline.errors import DataError
from pipeline.plugins import SOURCES
from pipeline.plugins.section import PositiveInt, Seed

# Package, license and files of the typefaces. matplotlib is always installed.
_PACKAGES = (
    ("matplotlib", "Bitstream Vera", "mpl-data/fonts/ttf/DejaVuSans*.ttf"),
    ("matplotlib", "Bitstream Vera", "mpl-data/fonts/ttf/DejaVuSerif*.ttf"),
    ("matplotlib", "STIX", "mpl-data/fonts/ttf/STIXGeneral*.ttf"),
    ("font_source_sans_pro", "OFL-1.1", "files/*.ttf"),
    ("font_source_serif_pro", "OFL-1.1", "files/*.ttf"),
    ("font_roboto", "Apache-2.0", "files/*.ttf"),
    ("font_hanken_grotesk", "OFL-1.1", "files/*.otf"),
    ("font_lato", "OFL-1.1", "files/*.ttf"),
    ("font_manrope", "OFL-1.1", "files/*.ttf"),
    ("font_caladea", "Apache-2.0", "files/*.ttf"),
)
# Display fonts lack most letters; a variable font is one file for all weights.
_EXCLUDED = ("Display", "VariableFont")

_SIDE = 128  # of an image, in pixels
_SHEET = 192  # side of the printed sheet, in pixels
_TYPE_SIZE = 44  # pixels per em on the sheet

_TEXT = (
    "amber anchor apricot autumn badger ballad basalt beacon bicycle biscuit blanket bramble "
    "bridge bronze candle canvas carbon castle cedar chapel cherry cinder citrus cobalt compass "
    "copper coral cotton cricket crystal curlew dahlia damson dolphin dragon drizzle eagle easel "
    "ember engine fable falcon feather fennel ferry fiddle flannel forest fossil fountain gables "
    "galaxy garnet ginger glacier goblet granite gravel hammer harbour hazel heather heron hollow "
    "hornet indigo island ivory jasmine jersey jigsaw jumble juniper kernel kettle kitten lagoon "
    "lantern laurel lemon lichen linnet lobster locket magnet magpie mallow maple marble meadow "
    "mirror mosaic mustard myrtle nectar needle nutmeg oatmeal ochre olive orchard otter oyster "
    "paddle pebble pepper pewter pigeon pillow plover pocket poplar prism puzzle quartz quince "
    "quiver rabbit radish raven ribbon river rocket rosemary russet saffron salmon sandal sapphire "
    "shadow shelter silver sorrel sparrow spindle spruce squirrel stable sunset swallow syrup "
    "tailor tandem teasel thicket thimble thistle timber topaz tulip tunnel turnip umber valley "
    "velvet vessel violet waffle walnut willow window winter wizard yarrow yellow zephyr zigzag"
)
_WORDS = _TEXT.split()
_CHARACTERS = np.array(list("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"))


@SOURCES.register("typefaces")
class Typefaces(DataSource):
    """Images of two or three lines of text as seen by a camera, for tests with many images.

    An image is a pure function of (seed, typeface, number). Words, colors, size and camera have the
    same distribution for every class.

    Args:
        classes: Number of typefaces, in the order of their families.
        images_per_class: Number of images of every typeface.
        seed: Seed of the words, the colors and the simulated camera.
    """

    path_kind = None
    publishes_splits = False

    def __init__(
        self,
        *,
        classes: Annotated[int, Field(ge=2, le=10_000)] = 60,
        images_per_class: PositiveInt = 100,
        seed: Seed = 0,
    ) -> None:
        self.classes = classes
        self.images_per_class = images_per_class
        self.seed = seed
        self.origin = f"drawn with seed {seed}"

    def read(self, path: Path) -> Listing:
        """Lists the images; each is rendered when it is read.

        Raises:
            DataError: Fewer than ``classes`` typefaces are installed.
        """
        installed = find_typefaces()
        if len(installed) < self.classes:
            thing = f"prepare.typefaces.classes = {self.classes}"
            remedy = "run `pip install 'finch-edge[typefaces]'`, or lower it"
            raise DataError(thing, f"only {len(installed)} typefaces are installed", remedy)
        chosen = installed[: self.classes]
        licenses = sorted({license for _, license in chosen})
        self.license = f"typefaces: {', '.join(licenses)}"
        samples = []
        for label, (file, _) in enumerate(chosen):
            for number in range(self.images_per_class):
                name = f"{file.stem}/{number:06}.ppm"
                content = partial(_render, file, self.seed, number)
                samples.append(Sample(file, name, label, content=content))
        return Listing([file.stem for file, _ in chosen], samples)


def find_typefaces() -> list[tuple[Path, str]]:
    """Installed typefaces with their licenses, grouped by family."""
    found = []
    for package, license, pattern in _PACKAGES:
        spec = importlib.util.find_spec(package)  # its files are read without importing it
        if spec is not None and spec.origin is not None:
            files = sorted(Path(spec.origin).parent.glob(pattern))
            found += [(f, license) for f in files if not any(word in f.stem for word in _EXCLUDED)]
    return found


def _render(typeface: Path, seed: int, number: int) -> bytes:
    # The name, not the index, so that more installed typefaces do not change the images.
    name = zlib.crc32(typeface.stem.encode())
    rng = np.random.default_rng((seed, name, number))
    return encode_ppm(_capture(_print(typeface, rng), rng))


@lru_cache(maxsize=256)
def _load(typeface: Path) -> ImageFont.FreeTypeFont:
    # Raqm, if installed, would place letters differently.
    return ImageFont.truetype(typeface, _TYPE_SIZE, layout_engine=ImageFont.Layout.BASIC)


def _print(typeface: Path, rng: np.random.Generator) -> Image.Image:
    """A sheet with lines of words: 255 is ink, 0 is paper."""
    sheet = Image.new("L", (_SHEET, _SHEET))
    draw = ImageDraw.Draw(sheet)
    spacing = rng.uniform(1.1, 1.4) * _TYPE_SIZE
    baseline = rng.uniform(0.3, 1.0) * spacing
    while baseline < _SHEET + _TYPE_SIZE / 2:
        # Anchor "ls": left, at the baseline.
        draw.text((rng.uniform(-40, 30), baseline), _word(rng), 255, _load(typeface), "ls")
        baseline += spacing
    return sheet


def _word(rng: np.random.Generator) -> str:
    if rng.random() < 0.3:
        return "".join(rng.choice(_CHARACTERS, 9))
    pair = f"{_WORDS[rng.integers(len(_WORDS))]} {_WORDS[rng.integers(len(_WORDS))]}"
    return (pair, pair.title(), pair.upper())[rng.integers(3)]


def _capture(sheet: Image.Image, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The sheet as seen by a camera: uint8 [128, 128, 3]."""
    view = sheet.transform(
        (_SIDE, _SIDE), Image.Transform.PERSPECTIVE, _camera(rng), Image.Resampling.BILINEAR
    )
    view = view.filter(ImageFilter.GaussianBlur(rng.uniform(0.2, 1.2)))
    ink = np.asarray(view, dtype=np.float32) / 255
    light, dark = rng.uniform(150, 250) + rng.uniform(-25, 25, (2, 3)), rng.uniform(10, 90, 3)
    paper, color = (light[0], dark) if rng.random() < 0.7 else (dark, light[1])
    # Channels first: numpy is slow if the last axis is short.
    planes = np.array([paper, color - paper], dtype=np.float32)[..., None, None]
    pixels = planes[0] + ink * planes[1]
    # A linear gradient of brightness in a random direction.
    ramp = np.linspace(-1, 1, _SIDE, dtype=np.float32)
    angle, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.4)
    horizontal = np.float32(strength * np.cos(angle)) * ramp
    pixels *= 1 + horizontal + np.float32(strength * np.sin(angle)) * ramp[:, None]
    pixels += rng.standard_normal(pixels.shape, np.float32) * np.float32(rng.uniform(2, 14))
    return np.asarray(np.clip(pixels + 0.5, 0, 255).astype(np.uint8).transpose(1, 2, 0))


def _camera(rng: np.random.Generator) -> list[float]:
    """Eight coefficients of Pillow's perspective transform, from image to sheet coordinates."""
    angle, half = rng.uniform(-0.15, 0.15), rng.uniform(0.36, 0.6) * _SIDE * 1.2
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)], dtype=float)
    rotation = np.array([(np.cos(angle), -np.sin(angle)), (np.sin(angle), np.cos(angle))])
    target = _SHEET / 2 + rng.uniform(-12, 12, 2) + half * corners @ rotation.T
    target += rng.uniform(-0.12, 0.12, (4, 2)) * half
    source = (corners + 1) / 2 * _SIDE
    # Solves u = (ax + by + c) / (gx + hy + 1), v = (dx + ey + f) / (gx + hy + 1) for four corners.
    rows = []
    for (x, y), (u, v) in zip(source, target, strict=True):
        rows += [(x, y, 1, 0, 0, 0, -u * x, -u * y), (0, 0, 0, x, y, 1, -v * x, -v * y)]
    coefficients: list[float] = np.linalg.solve(np.array(rows), target.ravel()).tolist()
    return coefficients
