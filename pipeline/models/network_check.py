"""Tries a network before anything is spent on it: size of the images, weights, output."""

from __future__ import annotations

import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import timm
import torch
import torchvision.models
from finch_runtime.image_size import ImageSize, height_and_width, in_pixels
from torch import Tensor

from pipeline.aspect_ratio import size_of_height
from pipeline.errors import ParameterError
from pipeline.models.cifar import NETWORKS
from pipeline.models.classifier import build_classifier, gray_classifier
from pipeline.models.pretrained import load_pretrained
from pipeline.models.zoo import TORCHVISION, full_name
from pipeline.params import Network

_CLASSES = ("0", "1")  # those of the data are not known before they are prepared
_SEARCH_SECONDS = 5.0  # for sizes of the images that work


def check_network(
    section: str,
    network: Network,
    image_size: int,
    *,
    channels: int = 3,
    aspect_ratio: float = 1.0,
    single_images: bool = False,
) -> None:
    """Builds a network, loads its initial weights, and computes logits in both modes.

    Shapes are computed without numbers (torch's device ``meta``), which takes below a second for
    networks of any size. Weights of ``pretrained: package`` and ``file`` are loaded; of
    ``library``, which would be downloaded, only the existence is checked. The state of torch's
    random generator is kept.

    Args:
        section: Section of the parameters, for error messages.
        network: The network and its initial weights.
        image_size: Height of the images in pixels.
        channels: 3 for RGB images, 1 for gray ones.
        aspect_ratio: Width of the images divided by their height.
        single_images: Whether training has forward passes of one image.

    Raises:
        ParameterError: The network is unknown, does not take images of this size, cannot be
            trained on single images, or has no weights, or weights that do not fit.
    """
    try:
        name = full_name(network.model)
    except ParameterError as error:
        raise ParameterError(f"{section}.{error.thing}", error.problem, error.remedy) from None
    batch = 1 if single_images else 2
    size = size_of_height(image_size, aspect_ratio)
    problem = _find_problem(name, size, batch)
    if problem is not None:
        raise _explain(section, name, image_size, aspect_ratio, batch, problem)
    try:
        if channels == 1:
            _try_gray(name, size)
        if network.pretrained in ("library", "timm"):
            _check_library(name)
        elif network.pretrained != "none":
            _load(network, size)
    except ParameterError as error:
        raise ParameterError(f"{section}: {error.thing}", error.problem, error.remedy) from None


def _find_problem(name: str, size: ImageSize, batch: int) -> str | None:
    """Why a network does not work with these sizes; None if it does."""
    if _works(name, size, batch):
        return None
    try:  # on the CPU, since some networks compute with numbers, and for the usual message
        _try(name, size, batch, "cpu")
    except Exception as error:  # networks raise any type
        return _reason(error)
    return None


def _works(name: str, size: ImageSize, batch: int) -> bool:
    try:
        _try(name, size, batch, "meta")
    except Exception:
        return False
    return True


def _try(name: str, size: ImageSize, batch: int, device: str) -> None:
    """Computes logits of one image, and of a batch as in training."""
    with _aside(), torch.device(device), torch.no_grad():
        model = build_classifier(name, _CLASSES, size)
        for is_training, count in ((False, 1), (True, batch)):
            logits: object = model.train(is_training)(torch.rand(count, 3, *height_and_width(size)))
            if not isinstance(logits, Tensor) or logits.shape != (count, len(_CLASSES)):
                shape = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
                raise TypeError(f"it returns {shape}, not logits of shape [images, classes]")


def _try_gray(name: str, size: ImageSize) -> None:
    with _aside():
        gray_classifier(build_classifier(name, _CLASSES, size))


def _load(network: Network, size: ImageSize) -> None:
    """Loads weights, except the head, since no classes are known that it could be matched with."""
    network = network.model_copy(update={"head": "fresh"})
    for device in ("meta", "cpu"):
        try:
            with _aside():
                with torch.device(device):
                    model = build_classifier(network.model, _CLASSES, size)
                load_pretrained(model, network)  # on meta, the tensors are compared, not copied
                return
        except Exception:
            if device == "cpu":
                raise


@contextmanager
def _aside() -> Iterator[None]:
    """Keeps the state of torch's random generator, and what libraries warn of."""
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # training repeats it
        yield


def _reason(error: Exception) -> str:
    """The message of a library's error, or the line of code that raised it."""
    if isinstance(error, ParameterError) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    text = " ".join(str(error).split())
    if not text:  # such as an assertion in timm
        frames = traceback.extract_tb(error.__traceback__)
        text = next((f.line for f in reversed(frames) if f.line and "assert" in f.line), "")
        text = text or type(error).__name__
    return text if len(text) <= 200 else f"{text[:199]}…"


def _explain(
    section: str, name: str, height: int, aspect_ratio: float, batch: int, problem: str
) -> ParameterError:
    """The error of a network that does not work, with sizes that do."""
    thing = f"{section}.model {name!r}"
    size = size_of_height(height, aspect_ratio)
    if batch == 1 and _works(name, size, 2):
        remedy = f"set {section}.batch_size to at least 2 * {section}.accumulate"
        return ParameterError(thing, f"cannot be trained on single images ({problem})", remedy)
    heights = " or ".join(map(str, _heights_that_work(name, height, aspect_ratio, batch)))
    # Members of the teacher have the size of `finetune`.
    key = f"{section.rpartition(': ')[2].partition('.')[0]}.image_size"
    remedy = f"set {key} to {heights}" if heights else f"change {key}"
    if aspect_ratio != 1:
        remedy += " or prepare.aspect_ratio"
    problem = f"cannot take images of {in_pixels(size)} ({problem})"
    return ParameterError(thing, problem, f"{remedy}, or choose another model")


def _heights_that_work(name: str, height: int, aspect_ratio: float, batch: int) -> list[int]:
    """The nearest smaller and larger multiples of 16 that a network takes, as far as found soon.

    If there are none, the one that its library has weights for: few others may work.
    """

    def works(tried: int) -> bool:
        return _works(name, size_of_height(tried, aspect_ratio), batch)

    heights = sorted(range(16, 513, 16), key=lambda tried: abs(tried - height))
    found: dict[bool, int] = {}
    end = time.monotonic() + _SEARCH_SECONDS
    for tried in heights:
        if time.monotonic() > end or len(found) == 2:
            break
        is_larger = tried > height
        if is_larger not in found and works(tried):
            found[is_larger] = tried
    if found:
        return sorted(found.values())
    config = timm.get_pretrained_cfg(name)
    own = config.input_size[-1] if config else height
    return [own] if own != height and works(own) else []


def _check_library(name: str) -> None:
    """Checks that a library has weights of a network, without downloading them."""
    if name in NETWORKS:
        exists, library = False, "any library"
    elif name.startswith(TORCHVISION):
        weights = torchvision.models.get_model_weights(name.removeprefix(TORCHVISION))
        exists, library = len(weights) > 0, "torchvision"
    else:
        config = timm.get_pretrained_cfg(name)
        exists, library = bool(config and config.has_weights), "timm"
    if not exists:
        raise ParameterError(
            f"pretrained weights of {name}",
            f"are not in {library}",
            "set `pretrained` to file or none, or choose another model",
        )
