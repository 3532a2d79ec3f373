"""Images per second of making views: a batch at once beside torchvision's transforms one by one.

    python benchmarks/views.py --device cuda

The one by one way is what a loader's worker does: the v2 transforms of a recipe as like ours as
they come, on uint8 tensors that are in memory, one image after the other in one process, then
float32. Ours makes the views of a batch on the training device and waits until they are there.
The ways take turns within a round; printed are medians over the rounds and of their ratios.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable

import cpuinfo
import numpy as np
import torch
import torchvision
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

from pipeline.params import Views
from pipeline.training.device import resolve_device
from pipeline.views import make_views

RECIPES = {
    "default": Views(vertical_flip=True, quarter_turns=True),
    "default, trivial": Views(vertical_flip=True, quarter_turns=True, auto="trivial"),
    "default, rand": Views(vertical_flip=True, quarter_turns=True, auto="rand"),
}


def quarter_turn(image: Tensor) -> Tensor:
    """Turns an image by 0, 90, 180 or 270 degrees."""
    return torch.rot90(image, int(torch.randint(4, ())), (1, 2))


def one_by_one(recipe: Views, size: int) -> v2.Compose:
    """Torchvision's transforms of a recipe like ours."""
    auto = {
        "none": [],
        "trivial": [v2.TrivialAugmentWide(interpolation=InterpolationMode.BILINEAR)],
        "rand": [
            v2.RandAugment(
                recipe.auto_ops, recipe.auto_magnitude, interpolation=InterpolationMode.BILINEAR
            )
        ],
    }
    return v2.Compose(
        [
            v2.RandomResizedCrop(
                size,
                scale=(recipe.crop_scale, 1.0),
                ratio=(1 / recipe.crop_ratio, recipe.crop_ratio),
                antialias=False,
            ),
            v2.RandomHorizontalFlip(),
            v2.RandomVerticalFlip(),
            v2.Lambda(quarter_turn),
            v2.ColorJitter(recipe.brightness, recipe.contrast),
            *auto[recipe.auto],
            v2.ToDtype(torch.float32, scale=True),
        ]
    )


def in_batches(
    recipe: Views, images: NDArray[np.uint8], batch: int, device: torch.device
) -> Callable[[int], None]:
    """Our way, as a function of the number of the view."""

    def run(view: int) -> None:
        for start in range(0, len(images), batch):
            ids = np.arange(start, min(start + batch, len(images)))
            made = make_views(images[ids], ids, view, recipe, device)
        made[-1, 0, 0, 0].item()  # waits for the device

    return run


def in_a_loop(transform: v2.Compose, images: NDArray[np.uint8]) -> Callable[[int], None]:
    """Torchvision's way."""
    tensors: list[Tensor] = list(torch.from_numpy(images).permute(0, 3, 1, 2).contiguous())

    def run(view: int) -> None:
        torch.manual_seed(view)
        for tensor in tensors:
            transform(tensor)

    return run


def seconds(run: Callable[[int], None], view: int) -> float:
    """Wall-clock time of one pass over the images."""
    started = time.perf_counter()
    run(view)
    return time.perf_counter() - started


def main() -> None:
    """Prints a line a recipe."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=["auto", "cpu", "cuda", "mps"], default="auto")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = resolve_device(options.device)
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (options.images, options.size, options.size, 3), np.uint8)
    print(
        f"{cpuinfo.get_cpu_info().get('brand_raw', platform.machine())}, {device}, "
        f"{torch.get_num_threads()} threads; torch {torch.__version__}, torchvision "
        f"{torchvision.__version__}; {options.images} images of {options.size} px, batches of "
        f"{options.batch}, {options.rounds} rounds; load {os.getloadavg()[0]:.1f} at the start"
    )
    print(f"{'recipe':20}{'in batches':>14}{'one by one':>14}{'ratio':>8}   (images per second)")
    for name, recipe in RECIPES.items():
        ours = in_batches(recipe, images, options.batch, device)
        theirs = in_a_loop(one_by_one(recipe, options.size), images)
        for run in (ours, theirs):  # the first calls of a process take longer
            run(0)
        pairs = [(seconds(ours, view), seconds(theirs, view)) for view in range(options.rounds)]
        rates = [options.images / statistics.median(times) for times in zip(*pairs, strict=True)]
        ratio = statistics.median(slow / fast for fast, slow in pairs)
        print(f"{name:20}{rates[0]:14.0f}{rates[1]:14.0f}{ratio:8.2f}")


if __name__ == "__main__":
    main()
