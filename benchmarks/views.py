"""Throughput of data augmentation: ``make_views`` on batches, torchvision's transforms per image.

    python benchmarks/views.py --device cuda

torchvision's v2 transforms with a similar recipe run on uint8 tensors in memory, one image at a
time in one process, as in a data loader's worker. ``make_views`` runs on the training device and
is synchronized. Both alternate within a round. Printed are medians over the rounds.
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
    """Rotates an image by 0, 90, 180 or 270 degrees."""
    return torch.rot90(image, int(torch.randint(4, ())), (1, 2))


def torchvision_transforms(recipe: Views, size: int) -> v2.Compose:
    """Torchvision's transforms with a similar recipe."""
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


def run_batches(
    recipe: Views, images: NDArray[np.uint8], batch: int, device: torch.device
) -> Callable[[int], None]:
    """``make_views``, as a function of the view number."""

    def run(view: int) -> None:
        for start in range(0, len(images), batch):
            ids = np.arange(start, min(start + batch, len(images)))
            views = make_views(images[ids], ids, view, recipe, device)
        views[-1, 0, 0, 0].item()  # synchronizes the device

    return run


def run_single_images(transform: v2.Compose, images: NDArray[np.uint8]) -> Callable[[int], None]:
    """Torchvision's transforms, as a function of the view number."""
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
    """Prints one line per recipe."""
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
    print(f"{'recipe':20}{'make_views':>14}{'torchvision':>14}{'ratio':>8}   (images per second)")
    for name, recipe in RECIPES.items():
        ours = run_batches(recipe, images, options.batch, device)
        theirs = run_single_images(torchvision_transforms(recipe, options.size), images)
        for run in (ours, theirs):  # warm-up
            run(0)
        pairs = [(seconds(ours, view), seconds(theirs, view)) for view in range(options.rounds)]
        rates = [options.images / statistics.median(times) for times in zip(*pairs, strict=True)]
        ratio = statistics.median(slow / fast for fast, slow in pairs)
        print(f"{name:20}{rates[0]:14.0f}{rates[1]:14.0f}{ratio:8.2f}")


if __name__ == "__main__":
    main()
