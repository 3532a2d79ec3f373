"""Checks of the number of images in a forward pass."""

from __future__ import annotations

import copy

import torch
from finch_runtime.image_size import height_and_width

from pipeline.errors import ParameterError
from pipeline.models.classifier import Classifier
from pipeline.params import Recipe
from pipeline.training.process_rank import ProcessRank


def check_batch_size(recipe: Recipe, images: int, process: ProcessRank) -> None:
    """Checks that every micro-batch has an image for every process.

    Args:
        recipe: Training recipe.
        images: Number of training images.
        process: This process.

    Raises:
        ParameterError: A micro-batch has fewer images than the world size.
    """
    smallest = _smallest_micro_batch(recipe, images)
    if smallest < process.world_size:
        raise ParameterError(
            f"{recipe.section}.batch_size = {recipe.batch_size}",
            f"gives micro-batches of {smallest} images (accumulate = {recipe.accumulate}, "
            f"{images} training images) at world size {process.world_size}",
            "raise it, or start fewer processes",
        )


def check_batch_norm(
    model: Classifier, recipe: Recipe, images: int, process: ProcessRank, device: torch.device
) -> None:
    """Checks that the network can be trained on the smallest forward pass of the recipe.

    Batch normalization needs two values per channel: a forward pass of one image fails where the
    feature map has one pixel.

    Raises:
        ParameterError: A forward pass has one image, and the network needs more.
    """
    if device.type == "cuda" and process.world_size > 1:
        return  # synchronized batch norm has the values of all processes
    if _smallest_micro_batch(recipe, images) // process.world_size > 1:
        return
    spec, trained = model.spec, copy.deepcopy(model).train()
    shape = (1, spec.channels, *height_and_width(spec.image_size))
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        try:
            trained(torch.zeros(shape, device=device))
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            world = f", world size {process.world_size}" if process.world_size > 1 else ""
            raise ParameterError(
                f"{recipe.section}.batch_size = {recipe.batch_size}",
                f"gives forward passes of 1 image (accumulate = {recipe.accumulate}, {images} "
                f"training images{world}), over which batch norm of {model.spec.architecture} has "
                "no statistics",
                "set it so that every pass has 2 images or more, lower accumulate, or choose a "
                "network without batch norm",
            ) from None


def _smallest_micro_batch(recipe: Recipe, images: int) -> int:
    smallest = images // -(-images // recipe.batch_size)
    return smallest // min(recipe.accumulate, smallest)
