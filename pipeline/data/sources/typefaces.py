"""Photographs of print, drawn: a class is a typeface, so that look-alikes are weights and slants.

Any number of photographs, from a seed and without a download, to test scale and statistics. Every
photograph is a pure function of (seed, typeface, number): two or three lines of words, as a camera
held askew sees them, out of focus, unevenly lit, and with noise. Nothing else tells the classes
apart: words, colours, size and camera are drawn from the same distributions for all of them.
"""

from __future__ import annotations

import functools
import importlib.util
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from pipeline.data.sources.photos import Photo, Source
from pipeline.errors import DataError
from pipeline.params import Typefaces

# Package, its licence, and where its typefaces lie. matplotlib's come first: they are always there.
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
# Display has hardly a letter, and a variable font is all weights at once.
_NO_TEXT = ("Display", "VariableFont")

_SIDE = 128  # of a photograph, in pixels
_PAPER = 192  # side of the sheet that it shows a part of, in pixels
_TYPE_SIZE = 44  # pixels per em on the sheet

_PLAIN_WORDS = (
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
_WORDS = _PLAIN_WORDS.split()
_SIGNS = np.array(list("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"))


def draw_typefaces(options: Typefaces) -> Source:
    """Lists photographs of the first ``options.classes`` typefaces; each is drawn when it is read.

    Raises:
        DataError: Fewer typefaces are installed.
    """
    found = find_typefaces()
    if len(found) < options.classes:
        raise DataError(
            f"prepare.typefaces.classes = {options.classes}",
            f"only {len(found)} typefaces are installed",
            "run `pip install 'finch-edge[typefaces]'`, or ask for fewer",
        )
    chosen = found[: options.classes]
    photos = [
        Photo(
            file,
            f"{file.stem}/{number:06}.ppm",
            label,
            content=_Drawing(file, options.seed, number),
        )
        for label, (file, _) in enumerate(chosen)
        for number in range(options.images_per_class)
    ]
    return Source(
        name="typefaces",
        classes=tuple(file.stem for file, _ in chosen),
        photos=tuple(photos),
        licence=f"typefaces: {', '.join(sorted({licence for _, licence in chosen}))}",
        origin=f"drawn with seed {options.seed}",
    )


def find_typefaces() -> list[tuple[Path, str]]:
    """The installed typefaces, family by family, each with its licence."""
    found = []
    for package, licence, pattern in _PACKAGES:
        # find_spec, because importing a package is not needed to read its files.
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.origin is not None:
            files = sorted(Path(spec.origin).parent.glob(pattern))
            found += [(f, licence) for f in files if not any(word in f.stem for word in _NO_TEXT)]
    return found


@dataclass(frozen=True)
class _Drawing:
    """One photograph, as a PPM file."""

    typeface: Path
    seed: int
    number: int

    def __call__(self) -> bytes:
        # The typeface's name and not its place in the list: more typefaces change no photograph.
        name = zlib.crc32(self.typeface.stem.encode())
        rng = np.random.default_rng((self.seed, name, self.number))
        pixels = _photograph(_print(self.typeface, rng), rng)
        return b"P6 %d %d 255\n" % (_SIDE, _SIDE) + pixels.tobytes()


@functools.lru_cache(maxsize=256)
def _load(typeface: Path) -> ImageFont.FreeTypeFont:
    # Pillow's own layout: with Raqm, where that is installed, letters would stand elsewhere.
    return ImageFont.truetype(typeface, _TYPE_SIZE, layout_engine=ImageFont.Layout.BASIC)


def _print(typeface: Path, rng: np.random.Generator) -> Image.Image:
    """A sheet of lines of words: 255 where there is ink."""
    sheet = Image.new("L", (_PAPER, _PAPER))
    draw = ImageDraw.Draw(sheet)
    spacing = rng.uniform(1.1, 1.4) * _TYPE_SIZE
    baseline = rng.uniform(0.3, 1.0) * spacing
    while baseline < _PAPER + _TYPE_SIZE / 2:
        # Anchored left and at the baseline, the one line that all typefaces share.
        draw.text((rng.uniform(-40, 30), baseline), _word(rng), 255, _load(typeface), "ls")
        baseline += spacing
    return sheet


def _word(rng: np.random.Generator) -> str:
    if rng.random() < 0.3:
        return "".join(rng.choice(_SIGNS, 9))
    pair = f"{_WORDS[rng.integers(len(_WORDS))]} {_WORDS[rng.integers(len(_WORDS))]}"
    return (pair, pair.title(), pair.upper())[rng.integers(3)]


def _photograph(sheet: Image.Image, rng: np.random.Generator) -> NDArray[np.uint8]:
    """What the camera sees of the sheet: uint8 [128, 128, 3]."""
    view = sheet.transform(
        (_SIDE, _SIDE), Image.Transform.PERSPECTIVE, _camera(rng), Image.Resampling.BILINEAR
    )
    view = view.filter(ImageFilter.GaussianBlur(rng.uniform(0.2, 1.2)))
    ink = np.asarray(view, dtype=np.float32) / 255
    light, dark = rng.uniform(150, 250) + rng.uniform(-25, 25, (2, 3)), rng.uniform(10, 90, 3)
    paper, colour = (light[0], dark) if rng.random() < 0.7 else (dark, light[1])
    # A plane per colour: numpy is slow where the last axis is short.
    planes = np.array([paper, colour - paper], dtype=np.float32)[..., None, None]
    pixels = planes[0] + ink * planes[1]
    # Light falls off to one side.
    along = np.linspace(-1, 1, _SIDE, dtype=np.float32)
    angle, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.4)
    across = np.float32(strength * np.cos(angle)) * along
    pixels *= 1 + across + np.float32(strength * np.sin(angle)) * along[:, None]
    pixels += rng.standard_normal(pixels.shape, np.float32) * np.float32(rng.uniform(2, 14))
    return np.asarray(np.clip(pixels + 0.5, 0, 255).astype(np.uint8).transpose(1, 2, 0))


def _camera(rng: np.random.Generator) -> list[float]:
    """The eight numbers by which Pillow maps a pixel of the photograph to a point of the sheet."""
    turn, half = rng.uniform(-0.15, 0.15), rng.uniform(0.36, 0.6) * _SIDE * 1.2
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)], dtype=float)
    rotation = np.array([(np.cos(turn), -np.sin(turn)), (np.sin(turn), np.cos(turn))])
    seen = _PAPER / 2 + rng.uniform(-12, 12, 2) + half * corners @ rotation.T
    seen += rng.uniform(-0.12, 0.12, (4, 2)) * half
    shown = (corners + 1) / 2 * _SIDE
    # Of u = (ax + by + c) / (gx + hy + 1) and v = (dx + ey + f) / (gx + hy + 1), two rows a corner.
    rows, wanted = [], []
    for (x, y), (u, v) in zip(shown, seen, strict=True):
        rows += [(x, y, 1, 0, 0, 0, -u * x, -u * y), (0, 0, 0, x, y, 1, -v * x, -v * y)]
        wanted += [u, v]
    return [float(number) for number in np.linalg.solve(np.array(rows), np.array(wanted))]
