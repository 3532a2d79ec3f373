"""Trains the networks of the teacher, and writes its folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.data.prepared import PreparedData
from pipeline.errors import ParameterError
from pipeline.losses import CrossEntropy
from pipeline.measure.accuracy import score
from pipeline.models.classifier import write_classifier
from pipeline.models.ensemble import mean_logits, member_folder
from pipeline.models.record import MemberRecord
from pipeline.params.teacher import TeacherNetwork
from pipeline.training.loop import TrainingResult
from pipeline.training.task import TrainingTask
from pipeline.training.validation import compute_logits
from stages.command import Context
from stages.training import StageTraining


@dataclass(frozen=True)
class Trained:
    """A trained network of the teacher.

    Attributes:
        network: Its parameters.
        training: How it was trained.
        result: The network, in evaluation mode.
        record: Its inputs, for ``model.json``.
    """

    network: TeacherNetwork
    training: StageTraining
    result: TrainingResult
    record: dict[str, Any]


def train_network(
    context: Context,
    data: PreparedData,
    device: torch.device,
    network: TeacherNetwork,
    label: str = "",
) -> Trained:
    """Trains a network of the teacher, or resumes from its checkpoint.

    A network that is finished is restored from its checkpoint, until the stage removes all of them.

    Args:
        context: Context of the stage.
        data: Prepared data.
        device: Training device.
        network: The network.
        label: Name for the log; empty for the network of ``finetune``.

    Raises:
        FinchError: See ``StageTraining``.
    """
    recipe, views = network.recipe, context.params.views
    loss = CrossEntropy(label_smoothing=recipe.label_smoothing)
    splits, frozen = (data.split("train"), data.split("val")), recipe.freeze_epochs
    task = TrainingTask(recipe, loss, *splits, views, freeze_epochs=frozen)
    key_inputs = {
        "recipe": network.values,
        "views": views.model_dump(),
        "data": data.fingerprint,
        "seed": network.seed,
    }
    torch.manual_seed(network.seed)
    training = StageTraining(context, "finetune", task, device, key_inputs, network.seed, label)
    try:
        started = training.initialize(recipe, data)
        result = training.run(started.model)
    except ParameterError as error:
        if not label:
            raise
        thing = f"{network.key}: {error.thing}"
        raise ParameterError(thing, error.problem, error.remedy) from None
    record = {"data": data.fingerprint, "initial": started.record}
    return Trained(network, training, result, record)


def figures_of_members(trained: Sequence[Trained]) -> dict[str, Any]:
    """Validation accuracy of the ensemble and of its members, for ``reports/teacher.json``.

    Returns:
        ``ensemble`` and ``members`` by number; nothing if there is only one network.
    """
    if len(trained) == 1:
        return {}
    val = trained[0].training.task.val
    logits = [compute_logits(t.result.model, val, t.training.device) for t in trained]
    weights = [t.network.weight for t in trained]
    mean = mean_logits([torch.from_numpy(each) for each in logits], weights).numpy()
    members = {
        str(index): {
            **_accuracy(each, val.labels),
            "best_epoch": t.result.best.epoch,
            "weight": t.network.weight,
        }
        for index, (t, each) in enumerate(zip(trained[1:], logits[1:], strict=True))
    }
    return {"ensemble": _accuracy(mean, val.labels), "members": members}


def write_members(folder: Path, trained: Sequence[Trained]) -> dict[str, Any]:
    """Writes all networks but the first into the folder of the teacher.

    Returns:
        Their record for ``model.json``; nothing if there are no members.
    """
    records = []
    for index, member in enumerate(trained[1:]):
        path = member_folder(folder, index)
        path.mkdir(parents=True)
        record = member.record | member.training.record()
        digest = write_classifier(path, member.result.model, record)
        records.append(asdict(MemberRecord(digest, member.network.weight)))
    return {"members": records} if records else {}


def _accuracy(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> dict[str, float]:
    scored = score(logits, labels)
    return {
        "val_accuracy": scored.accuracy,
        "val_balanced_accuracy": scored.balanced_accuracy,
    }
