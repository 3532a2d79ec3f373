"""Creates networks of timm, torchvision and ``pipeline.models.cifar`` by name."""

from __future__ import annotations

import difflib
import re
from functools import cache, partial
from typing import Any, cast

import timm
import torch
import torchvision.models
from finch_runtime.image_size import ImageSize, height_and_width, in_pixels
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor, nn

from pipeline.errors import ParameterError, one_line
from pipeline.models.cifar import NETWORKS

TORCHVISION = "torchvision/"
_HUB = re.compile(r"^(?:hf[-_]hub:)?(?:timm/)?")  # before the name of a network on Hugging Face
_INCEPTIONS = ("googlenet", "inception_v3")  # with other normalization and auxiliary heads


def full_name(name: str) -> str:
    """The unambiguous name of a network, as stored in ``model.json``.

    If both libraries have a model with this name, timm's is used. A model that only torchvision has
    gets the prefix ``torchvision/``. The prefix can also be given, to use torchvision's model.

    Raises:
        ParameterError: No library has this network.
    """
    if name in NETWORKS or name in _timm_names() or name in _torchvision_names():
        return name
    if TORCHVISION + name in _torchvision_names():
        return TORCHVISION + name
    bare = _HUB.sub("", name)
    known = [*timm.list_models(), *NETWORKS, *_torchvision_names()]
    near = [bare] if bare in _timm_names() else difflib.get_close_matches(bare, known, n=4)
    raise ParameterError(
        f"model {name!r}",
        "is not a model of timm, torchvision or Finch",
        f"close names: {', '.join(near)}" if near else "see timm.list_models()",
    )


def library_versions() -> dict[str, str]:
    """Versions of the libraries that define networks, which can change what a network computes."""
    return {library.__name__: library.__version__ for library in (timm, torch, torchvision)}


def create_network(name: str, num_classes: int, image_size: ImageSize) -> nn.Module:
    """Creates a network with random weights from torch's default generator.

    ``name`` is a result of ``full_name``. ``image_size`` is used by networks with a fixed
    input size.

    Returns:
        A network with timm's ``get_classifier()`` and ``pretrained_cfg`` (``mean``, ``std`` and
        ``classifier``, the name of the classifier layer).

    Raises:
        ParameterError: The network does not support this image size.
    """
    if name in NETWORKS:
        return NETWORKS[name](num_classes)
    try:
        if name.startswith(TORCHVISION):
            return _from_torchvision(name.removeprefix(TORCHVISION), num_classes, image_size)
        options = _timm_size(name, image_size)
        return cast(nn.Module, timm.create_model(name, num_classes=num_classes, **options))
    except (AssertionError, TypeError, ValueError) as error:
        raise ParameterError(
            f"model {name!r}",
            f"cannot be built for images of {in_pixels(image_size)} ({one_line(error)})",
            "change image_size, or choose another model",
        ) from error


def count_parameters(name: str, num_classes: int, image_size: ImageSize) -> int:
    """Number of trainable parameters.

    Raises:
        ParameterError: The network is unknown, or does not support this image size.
    """
    with torch.random.fork_rng(devices=[]):  # keeps the state of torch's random generator
        model = create_network(full_name(name), num_classes, image_size)
    return sum(parameter.numel() for parameter in model.parameters())


def library_weights(name: str, image_size: ImageSize) -> dict[str, Tensor]:
    """Downloads the pretrained weights of a network from its library.

    Raises:
        ParameterError: The network has no weights, or the download failed.
    """
    source = "torchvision" if name.startswith(TORCHVISION) else "timm"
    if name in NETWORKS:
        problem = "are in no library, because the network is Finch's own"
        raise weights_error(name, problem, "set `pretrained` to file or none")
    try:
        if source == "torchvision":
            weights = torchvision.models.get_model_weights(name.removeprefix(TORCHVISION))
            options = {"progress": False, "check_hash": True, "weights_only": True}
            state = weights.DEFAULT.get_state_dict(**options)
        else:
            model = timm.create_model(name, pretrained=True, **_timm_size(name, image_size))
            state = model.state_dict()
    except Exception as error:  # the hubs raise many types when offline
        problem = f"cannot be downloaded from {source} ({one_line(error)})"
        remedy = "check the network connection, or set `pretrained` to package, file or none"
        raise weights_error(name, problem, remedy) from error
    return cast("dict[str, Tensor]", state)


def weights_error(name: str, problem: str, remedy: str) -> ParameterError:
    """An error about the pretrained weights of a network."""
    return ParameterError(f"pretrained weights of {name}", problem, remedy)


@cache
def _timm_names() -> frozenset[str]:
    return frozenset((*timm.list_models(), *timm.list_pretrained()))


@cache
def _torchvision_names() -> frozenset[str]:
    # Models of this module; submodules have detection, segmentation, video and quantized models.
    names = torchvision.models.list_models(module=torchvision.models)
    return frozenset(TORCHVISION + name for name in names)


def _timm_size(name: str, image_size: ImageSize) -> dict[str, ImageSize]:
    config = timm.get_pretrained_cfg(name)
    return {"img_size": image_size} if config and config.fixed_input_size else {}


def _from_torchvision(name: str, num_classes: int, image_size: ImageSize) -> nn.Module:
    options: dict[str, Any] = {}
    mean, std = IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
    if name in _INCEPTIONS:
        options = {"aux_logits": False, "init_weights": True}
        mean = std = (0.5, 0.5, 0.5)
    elif name.startswith("vit_"):
        if isinstance(image_size, tuple):
            raise ValueError("torchvision's vision transformers take square images")
        options = {"image_size": image_size}
    elif name.startswith("maxvit_"):
        options = {"input_size": height_and_width(image_size)}
    model: Any = torchvision.models.get_model(name, num_classes=num_classes, **options)
    # In all torchvision models, the last parameter belongs to the classifier layer.
    head = [parameter for parameter, _ in model.named_parameters()][-1].rpartition(".")[0]
    model.pretrained_cfg = {"mean": mean, "std": std, "classifier": head}
    model.get_classifier = partial(model.get_submodule, head)
    return cast(nn.Module, model)
