"""A small project: the real stages on a few synthetic images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image, ImageDraw

from pipeline.params.editing import merged
from pipeline.params.recipes import load_recipe

PROJECT = Path(__file__).parents[1]
CLASSES = ("disc", "ring", "square", "frame")


def draw_photo(kind: str, rng: np.random.Generator) -> Image.Image:
    """A light shape on noise; ring and frame are outlines of disc and square."""
    image = Image.fromarray(rng.integers(0, 90, (40, 48, 3), dtype=np.uint8))
    x, y = rng.integers(4, 16, 2).tolist()
    size = int(rng.integers(16, 22))
    box = (x, y, x + size, y + size)
    color = tuple(rng.integers(150, 256, 3).tolist())
    draw = ImageDraw.Draw(image)
    shape = draw.ellipse if kind in ("disc", "ring") else draw.rectangle
    if kind in ("disc", "square"):
        shape(box, fill=color)
    else:
        shape(box, outline=color, width=3)
    return image


def write_photos(folder: Path, per_class: int) -> None:
    rng = np.random.default_rng(0)
    for kind in CLASSES:
        (folder / kind).mkdir(parents=True)
        for number in range(per_class):
            draw_photo(kind, rng).save(folder / kind / f"{number:03}.png")


def write_unlabelled(folder: Path, images: int) -> None:
    """Images without labels, half of them in a folder of the folder."""
    rng = np.random.default_rng(1)
    (folder / "monday").mkdir(parents=True)
    for number in range(images):
        image = draw_photo(CLASSES[number % len(CLASSES)], rng)
        image.save(folder / ("monday" if number % 2 else ".") / f"{number:02}.png")


def small_params(photos: Path) -> dict[str, Any]:
    """The parameters of the default run, reduced to a tiny run."""
    params: dict[str, Any] = yaml.safe_load((PROJECT / "params.yaml").read_text())
    params = merged(load_recipe("solar-cells"), params) | {"recipe": "none"}
    params["run"] |= {"device": "cpu", "threads": 1}
    params["prepare"] |= {"source": "folder", "path": str(photos), "image_size": 32, "block": 3}
    training = {"epochs": 2, "batch_size": 16, "steps": {"max": 100_000}}
    params["finetune"] |= {"model": "test_efficientnet", "pretrained": "none", **training}
    params["finetune"]["image_size"] = None
    params["cache_logits"]["views"] = 2
    # Low weights and learning rate, since two epochs must not diverge.
    params["distill"] |= {"model": "test_efficientnet", "lr": 0.01, **training}
    params["distill"]["figkd"] = {"detail_weight": 0.1, "kd_weight": 2.0}
    params["quantize"]["calibration_images"] = 24
    params["evaluate"] |= {"rounds": 3, "max_rounds": 4, "turns": 3, "runs": 3}
    params["evaluate"] |= {"warmup": 2, "warmup_seconds": 0.0, "batches": [1, 2]}
    # Selection must not depend on the accuracy of a network that is hardly trained.
    params["bundle"]["max_drop"] = params["bundle"]["max_drop_bound"] = 100.0
    return params


def set_param(project: Path, key: str, value: Any) -> None:
    path = project / "params.yaml"
    params = yaml.safe_load(path.read_text())
    *sections, last = key.split(".")
    section = params
    for name in sections:
        section = section.setdefault(name, {})
    section[last] = value
    path.write_text(yaml.safe_dump(params, sort_keys=False))
