"""A network with the metadata to use it: class names, image size and normalization."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from finch_runtime.image_size import ImageSize
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from pipeline.errors import ArtifactError, ParameterError, one_line
from pipeline.files import atomic_folder, hash_file, parse_artifact, read_json, write_json
from pipeline.models.gray_input import take_gray
from pipeline.models.record import FORMAT, ClassNames, StoredSize, check_format
from pipeline.models.saved_tensors import to_saved
from pipeline.models.zoo import create_network, full_name

WEIGHTS = "model.safetensors"

Channels = tuple[float] | tuple[float, float, float]


@dataclass(frozen=True)
class Spec:
    """Metadata to rebuild a classifier from its weights.

    Attributes:
        architecture: Model name, as returned by ``zoo.full_name``.
        classes: Class names, in the order of the logits.
        image_size: Size of the images.
        mean: Normalization mean per channel, for pixels in [0, 1]: three values for RGB images, one
            for gray ones.
        std: Normalization standard deviation per channel.
    """

    architecture: str
    classes: tuple[str, ...]
    image_size: ImageSize
    mean: Channels
    std: Channels

    @property
    def channels(self) -> int:
        """3 for RGB images, 1 for gray ones."""
        return len(self.mean)


@dataclass(frozen=True)
class _Stored(Spec):
    """What ``load_classifier`` needs of ``model.json``."""

    classes: ClassNames
    image_size: StoredSize
    weights_sha256: str


class Classifier(nn.Module):
    """Normalizes images, and returns logits [n, classes].

    Images are float32 [n, channels, height, width] in [0, 1].
    """

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: nn.Module, spec: Spec) -> None:
        super().__init__()
        self.backbone = backbone
        self.spec = spec
        # Not in the state dict, because the spec has them.
        self.register_buffer("mean", torch.tensor(spec.mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(spec.std).view(1, -1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of a batch."""
        logits: Tensor = self.backbone((images - self.mean) / self.std)
        return logits

    def head_layers(self) -> tuple[nn.Module, ...]:
        """The classifier layers: one, two if the network has a distillation head, or none."""
        find = getattr(self.backbone, "get_classifier", None)
        found = find() if find else ()
        return found if isinstance(found, tuple) else (found,)

    def head_weights(self) -> NDArray[np.float32]:
        """Weights of the linear classifier layer, [classes, features].

        Two heads, whose logits the network averages, are one layer on the features of both.

        Raises:
            ParameterError: The classifier layers are not linear.
        """
        layers = self.head_layers()
        weights = [layer.weight for layer in layers if isinstance(layer, nn.Linear)]
        if not weights or len(weights) < len(layers):
            found = " and ".join(type(layer).__name__ for layer in layers) or "none"
            raise ParameterError(
                f"model {self.spec.architecture!r}",
                f"has no linear classifier layer, but {found}",
                "set distill.class_order.similarity to logits",
            )
        return torch.cat(weights, dim=1).detach().float().cpu().numpy()


def build_classifier(
    architecture: str, classes: tuple[str, ...], image_size: ImageSize
) -> Classifier:
    """Creates a classifier with random weights from torch's default generator.

    See ``Spec`` for the arguments; ``architecture`` is any name that ``zoo.full_name`` accepts.

    Raises:
        ParameterError: The model is unknown, or does not support this image size.
    """
    architecture = full_name(architecture)
    backbone = create_network(architecture, len(classes), image_size)
    config: dict[str, Any] = vars(backbone)["pretrained_cfg"]
    spec = Spec(architecture, classes, image_size, tuple(config["mean"]), tuple(config["std"]))
    return Classifier(backbone, spec)


def gray_classifier(model: Classifier) -> Classifier:
    """The classifier for gray images; its network is converted in place, see ``take_gray``.

    Mean and standard deviation are the means over the channels.

    Raises:
        ParameterError: The network cannot be converted.
    """
    spec = model.spec
    take_gray(model.backbone, spec.architecture, spec.image_size)
    mean, std = ((sum(values) / len(values),) for values in (spec.mean, spec.std))
    return Classifier(model.backbone, replace(spec, mean=mean, std=std))


def save_classifier(folder: Path, model: Classifier, record: dict[str, Any]) -> str:
    """Writes the weights as safetensors, and the spec as ``model.json``.

    The folder is replaced atomically. ``record`` has more entries of ``model.json``, such as the
    training recipe.

    Returns:
        SHA-256 of the weights file.
    """
    with atomic_folder(folder) as temporary:
        return write_classifier(temporary, model, record)


def write_classifier(folder: Path, model: Classifier, record: dict[str, Any]) -> str:
    """As ``save_classifier``, into a folder that exists and that nobody reads yet."""
    save_file(to_saved(model.state_dict()), folder / WEIGHTS)
    digest = hash_file(folder / WEIGHTS)
    info = {"format": FORMAT, **asdict(model.spec), "weights_sha256": digest, **record}
    write_json(folder / "model.json", info)
    return digest


def load_classifier(folder: Path, device: torch.device) -> tuple[Classifier, dict[str, Any]]:
    """Loads a classifier written by ``save_classifier``, in evaluation mode.

    Returns:
        The classifier, and the content of ``model.json``.

    Raises:
        ArtifactError: A file is missing or damaged, or the weights do not match ``model.json``.
        ParameterError: The network is unknown to this version of timm.
    """
    info_path, path = folder / "model.json", folder / WEIGHTS
    info = read_json(info_path)
    check_format(info_path, info)
    stored = parse_artifact(info_path, _Stored, info)
    try:
        if hash_file(path) != stored.weights_sha256:
            raise ArtifactError(path, "is truncated, or does not match model.json")
        state = load_file(path)
    except FileNotFoundError:
        raise ArtifactError(path, "is missing") from None
    except SafetensorError as error:
        raise ArtifactError(path, f"is not a safetensors file ({one_line(error)})") from None
    spec = Spec(stored.architecture, stored.classes, stored.image_size, stored.mean, stored.std)
    with torch.random.fork_rng(devices=[]):  # keeps the state of torch's random generator
        backbone = create_network(full_name(spec.architecture), len(spec.classes), spec.image_size)
    if spec.channels == 1:
        take_gray(backbone, spec.architecture, spec.image_size)
    model = Classifier(backbone, spec)
    try:
        model.load_state_dict(state)
    except RuntimeError:
        problem = f"does not describe the network of {path.name}"
        raise ArtifactError(info_path, problem) from None
    model.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    return model, info


def read_head_weights(folder: Path) -> NDArray[np.float32]:
    """``Classifier.head_weights`` of a classifier written by ``save_classifier``."""
    return load_classifier(folder, torch.device("cpu"))[0].head_weights()
