"""Several classifiers that answer as one: the weighted mean of their logits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.errors import ArtifactError
from pipeline.models.classifier import Classifier, load_classifier
from pipeline.models.record import TeacherRecord, member_folder
from pipeline.provenance import check_inputs
from pipeline.transfers import to_device


class Ensemble(nn.Module):
    """The weighted mean of the logits of classifiers of the same classes.

    Args:
        members: The classifiers, in evaluation mode, on one device.
        weights: A positive weight for each; their sum need not be 1.

    Attributes:
        spec: The first member's, whose classes and image size all have.
    """

    def __init__(self, members: Sequence[Classifier], weights: Sequence[float]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.weights = tuple(weights)
        self.spec = members[0].spec

    def forward(self, images: Tensor) -> Tensor:
        """Logits of a batch, float32 [n, classes]; images are those of ``Classifier``."""
        return mean_logits([member(images) for member in self.members], self.weights)


def mean_logits(logits: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """The weighted mean of logits [n, classes], computed in float32."""
    stacked = torch.stack([each.float() for each in logits])
    shares = to_device(np.array(weights), stacked.device, torch.float32) / sum(weights)
    # Not a matrix product, which autocast would compute in 16 bits.
    return (stacked * shares[:, None, None]).sum(0)


def load_teacher(
    folder: Path, record: TeacherRecord, device: torch.device
) -> Classifier | Ensemble:
    """Loads the networks that answer for the teacher, in evaluation mode.

    Args:
        folder: Folder of the teacher.
        record: Its ``model.json``.
        device: Device of the networks.

    Returns:
        The teacher's network if it has no members, else the ensemble.

    Raises:
        ArtifactError: A file is missing or damaged, or is not the one in the record.
        ParameterError: A network is unknown to this version of timm.
    """
    networks = [load_classifier(folder, device)[0]]
    for index, member in enumerate(record.members):
        path = member_folder(folder, index)
        network, info = load_classifier(path, device)
        found = cast("str", info["weights_sha256"])
        name = f"members/{index}"
        check_inputs(folder / "model.json", {name: member.weights_sha256}, **{name: found})
        if network.spec.classes != record.classes:
            problem = "has other classes than the teacher's model.json"
            raise ArtifactError(path / "model.json", problem)
        networks.append(network)
    if len(networks) == 1:
        return networks[0]
    return Ensemble(networks, [1.0, *(member.weight for member in record.members)]).eval()
