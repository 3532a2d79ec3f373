"""A network with what it needs to be used: its class names, image size and normalization."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from pipeline.errors import ArtefactError
from pipeline.files import hash_file, read_json, whole_folder, write_json
from pipeline.models.zoo import create_network, full_name

FORMAT = 1
WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class Spec:
    """All that is needed to rebuild a classifier around its weights.

    Attributes:
        architecture: Name of the network, as ``zoo.full_name`` gives it.
        classes: Class names, in the order of the logits.
        image_size: Side of the square images in pixels.
        mean: Per RGB channel, in 0…1, taken off an image first.
        std: Per RGB channel, in 0…1, what the image is then divided by.
    """

    architecture: str
    classes: tuple[str, ...]
    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


class Classifier(nn.Module):
    """Takes images float32 [n, 3, size, size] in 0…1 and returns logits [n, classes]."""

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: nn.Module, spec: Spec) -> None:
        super().__init__()
        self.backbone = backbone
        self.spec = spec
        # Not saved with the weights: the spec has them.
        self.register_buffer("mean", torch.tensor(spec.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(spec.std).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Normalises the images and classifies them."""
        logits: Tensor = self.backbone((images - self.mean) / self.std)
        return logits


def build_classifier(architecture: str, classes: tuple[str, ...], image_size: int) -> Classifier:
    """A classifier with fresh weights, drawn from torch's current random state.

    Args:
        architecture: Any name that ``zoo.full_name`` knows.
        classes: Class names, in the order of the logits.
        image_size: Side of the square images in pixels.

    Raises:
        ParameterError: No library has a network of that name, or not for images of that size.
    """
    architecture = full_name(architecture)
    backbone = create_network(architecture, len(classes), image_size)
    config: dict[str, Any] = vars(backbone)["pretrained_cfg"]
    spec = Spec(architecture, classes, image_size, tuple(config["mean"]), tuple(config["std"]))
    return Classifier(backbone, spec)


def save_classifier(
    folder: Path,
    model: Classifier,
    record: dict[str, Any],
    beside: Mapping[str, Any] = MappingProxyType({}),
) -> str:
    """Writes the weights as safetensors and a JSON that rebuilds the network around them.

    Args:
        folder: Replaced as a whole.
        model: What to save.
        record: What else to keep in ``model.json``: how it was trained, and from what.
        beside: JSON values to write into files of their own, by file name.

    Returns:
        SHA-256 of the weights' file.
    """
    with whole_folder(folder) as temporary:
        state = {name: t.detach().cpu().contiguous() for name, t in model.state_dict().items()}
        save_file(state, temporary / WEIGHTS)
        digest = hash_file(temporary / WEIGHTS)
        write_json(
            temporary / "model.json",
            {"format": FORMAT, **asdict(model.spec), "weights_sha256": digest, **record},
        )
        for name, value in beside.items():
            write_json(temporary / name, value)
    return digest


def load_classifier(folder: Path, device: torch.device) -> tuple[Classifier, dict[str, Any]]:
    """Rebuilds a classifier that ``save_classifier`` wrote, in evaluation mode.

    Returns:
        The classifier, and its ``model.json``.

    Raises:
        ArtefactError: A file is missing or truncated, or the weights are not the ones that the
            JSON names.
    """
    info = read_json(folder / "model.json")
    if info.get("format") != FORMAT:
        raise ArtefactError(
            folder / "model.json", f"has format {info.get('format')!r}, this Finch reads {FORMAT}"
        )
    path = folder / WEIGHTS
    try:
        if hash_file(path) != info["weights_sha256"]:
            raise ArtefactError(path, "is truncated or is not the file that model.json describes")
        state = load_file(path)
    except FileNotFoundError:
        raise ArtefactError(path, "is missing") from None
    except SafetensorError as error:
        raise ArtefactError(path, f"is not a safetensors file ({error})") from None
    spec = Spec(
        info["architecture"],
        tuple(info["classes"]),
        info["image_size"],
        tuple(info["mean"]),
        tuple(info["std"]),
    )
    with torch.random.fork_rng(devices=[]):  # loading draws from no one's random state
        backbone = create_network(full_name(spec.architecture), len(spec.classes), spec.image_size)
    model = Classifier(backbone, spec)
    model.load_state_dict(state)
    model.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    return model, info
