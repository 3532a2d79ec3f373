"""Networks by name: timm's, Finch's own for 32 px images, and torchvision's."""

from __future__ import annotations

import difflib
from functools import cache, partial
from typing import Any, cast

import timm
import torch
import torchvision.models
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor, nn

from pipeline.errors import ParameterError
from pipeline.models.cifar import NETWORKS

TORCHVISION = "torchvision/"
# Google's weights of these expect another normalization; their second heads only serve training.
_INCEPTIONS = ("googlenet", "inception_v3")


def full_name(name: str) -> str:
    """The name under which a network is kept, whatever names other libraries take on later.

    A name that timm has is timm's; one that only torchvision has gets the prefix
    ``torchvision/``, by which the rest of torchvision's networks can be named too.

    Raises:
        ParameterError: No library has a network of that name.
    """
    if name in NETWORKS or name in _timm_names() or name in _torchvision_names():
        return name
    if TORCHVISION + name in _torchvision_names():
        return TORCHVISION + name
    known = [*timm.list_models(), *NETWORKS, *_torchvision_names()]
    near = difflib.get_close_matches(name, known, n=4)
    raise ParameterError(
        f"model {name!r}",
        "is not known to timm, to torchvision or to Finch",
        f"close names: {', '.join(near)}" if near else "see timm.list_models()",
    )


def create_network(name: str, num_classes: int, image_size: int) -> nn.Module:
    """A network with fresh weights, drawn from torch's current random state.

    Args:
        name: As ``full_name`` gives it.
        num_classes: Logits.
        image_size: Side of the images in pixels, for networks that are built for one size.

    Returns:
        A network with timm's ``get_classifier()`` and, in ``pretrained_cfg``, the keys ``mean``,
        ``std`` and ``classifier`` (the name of its head).

    Raises:
        ParameterError: There is no such network for images of that size.
    """
    if name in NETWORKS:
        return NETWORKS[name](num_classes)
    try:
        if name.startswith(TORCHVISION):
            return _from_torchvision(name.removeprefix(TORCHVISION), num_classes, image_size)
        return cast(
            nn.Module,
            timm.create_model(name, num_classes=num_classes, **_timm_size(name, image_size)),
        )
    except (AssertionError, TypeError, ValueError) as error:
        raise ParameterError(
            f"model {name!r}",
            f"cannot be built for images of {image_size} px ({' '.join(str(error).split())})",
            "change prepare.image_size, or take another model",
        ) from error


def library_weights(name: str, image_size: int) -> dict[str, Tensor]:
    """Pretrained weights as the library that has the network publishes them, by download.

    Raises:
        ParameterError: There are none, or they cannot be had from here.
    """
    source = "torchvision" if name.startswith(TORCHVISION) else "timm"
    if name in NETWORKS:
        raise ParameterError(
            f"pretrained weights of {name}",
            "are in no library: it is one of Finch's own networks",
            "set `pretrained` to file or none",
        )
    try:
        if source == "torchvision":
            weights = torchvision.models.get_model_weights(name.removeprefix(TORCHVISION))
            state = weights.DEFAULT.get_state_dict(
                progress=False, check_hash=True, weights_only=True
            )
        else:
            model = timm.create_model(name, pretrained=True, **_timm_size(name, image_size))
            state = model.state_dict()
    except Exception as error:  # the hubs raise a dozen unrelated types when offline
        raise ParameterError(
            f"pretrained weights of {name}",
            f"cannot be had from {source} ({' '.join(str(error).split())})",
            "go online, or set `pretrained` to package, file or none",
        ) from error
    return cast("dict[str, Tensor]", state)


@cache
def _timm_names() -> frozenset[str]:
    return frozenset((*timm.list_models(), *timm.list_pretrained()))


@cache
def _torchvision_names() -> frozenset[str]:
    # Of this module only: those below it detect, segment, take videos, or are quantised.
    names = torchvision.models.list_models(module=torchvision.models)
    return frozenset(TORCHVISION + name for name in names)


def _timm_size(name: str, image_size: int) -> dict[str, int]:
    config = timm.get_pretrained_cfg(name)
    return {"img_size": image_size} if config and config.fixed_input_size else {}


def _from_torchvision(name: str, num_classes: int, image_size: int) -> nn.Module:
    options: dict[str, Any] = {}
    mean, std = IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
    if name in _INCEPTIONS:
        options = {"aux_logits": False, "init_weights": True}
        mean = std = (0.5, 0.5, 0.5)
    elif name.startswith("vit_"):
        options = {"image_size": image_size}
    elif name.startswith("maxvit_"):
        options = {"input_size": (image_size, image_size)}
    model: Any = torchvision.models.get_model(name, num_classes=num_classes, **options)
    # All of torchvision's classifiers end with their head.
    head = [parameter for parameter, _ in model.named_parameters()][-1].rpartition(".")[0]
    model.pretrained_cfg = {"mean": mean, "std": std, "classifier": head}
    model.get_classifier = partial(model.get_submodule, head)
    return cast(nn.Module, model)


def count_parameters(name: str, num_classes: int, image_size: int) -> int:
    """Trainable numbers of a network.

    Raises:
        ParameterError: There is no such network for images of that size.
    """
    with torch.random.fork_rng(devices=[]):  # counting draws from no one's random state
        model = create_network(full_name(name), num_classes, image_size)
    return sum(parameter.numel() for parameter in model.parameters())
