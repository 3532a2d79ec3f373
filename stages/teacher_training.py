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
from pipeline.files import hash_file
from pipeline.losses import CrossEntropy
from pipeline.measure.accuracy import score
from pipeline.models.classifier import write_classifier
from pipeline.models.ensemble import mean_logits
from pipeline.models.record import (
    FoldsRecord,
    MemberRecord,
    fold_folder,
    fold_of_file,
    member_folder,
    read_teacher,
)
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


def train_teacher(
    context: Context,
    data: PreparedData,
    device: torch.device,
    networks: Sequence[TeacherNetwork],
    fold: int | None = None,
    images: NDArray[np.int64] | None = None,
) -> list[Trained]:
    """Trains the networks of a teacher, one after the other.

    ``fold`` is the number of the fold that the teacher does not learn from, and ``images`` are the
    training images of the other folds; None for the teacher that learns from all. See
    ``train_network`` for the other arguments and the errors.
    """
    trained = []
    for index, network in enumerate(networks):
        names = [f"fold {fold}"] * (fold is not None) + [f"member {index - 1}"] * bool(index)
        label = ", ".join(names)
        trained.append(train_network(context, data, device, network, label, images))
    return trained


def train_network(
    context: Context,
    data: PreparedData,
    device: torch.device,
    network: TeacherNetwork,
    label: str = "",
    images: NDArray[np.int64] | None = None,
) -> Trained:
    """Trains a network of the teacher, or resumes from its checkpoint.

    A network that is finished is restored from its checkpoint, until the stage removes all of them.

    Args:
        context: Context of the stage.
        data: Prepared data.
        device: Training device.
        network: The network.
        label: Name for the log; empty for the network of ``finetune`` that learns from all images.
        images: Training images to learn from, int64; None for all.

    Raises:
        FinchError: See ``StageTraining``.
    """
    recipe, views = network.recipe, context.params.views
    loss = CrossEntropy(label_smoothing=recipe.label_smoothing)
    size = data.size_at(recipe.image_size)
    train, val = data.split("train"), data.split("val", size)
    task = TrainingTask(recipe, loss, train, val, views, indices=images)
    key_inputs = {
        "recipe": network.values,
        "views": views.model_dump(),
        "data": data.fingerprint,
        "seed": network.seed,
    }
    if images is not None:
        key_inputs["images"] = images.tolist()
    torch.manual_seed(network.seed)
    training = StageTraining(context, "finetune", task, device, key_inputs, network.seed, label)
    try:
        started = training.initialize(recipe, data)
        result = training.run(started.model)
    except ParameterError as error:
        if network.key == recipe.section:
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
    members = {
        str(index): {
            **_accuracy([member]),
            "best_epoch": member.result.best.epoch,
            "weight": member.network.weight,
        }
        for index, member in enumerate(trained[1:])
    }
    return {"ensemble": _accuracy(trained), "members": members}


def figures_of_folds(
    folds: Sequence[Sequence[Trained]], fold_of: NDArray[np.int64]
) -> dict[str, Any]:
    """Size of every fold, and its teacher's validation accuracy, for ``reports/teacher.json``."""
    figures = {
        str(fold): {"images": int((fold_of == fold).sum()), **_accuracy(trained)}
        for fold, trained in enumerate(folds)
    }
    return {"folds": figures}


def write_folds(
    folder: Path, folds: Sequence[Sequence[Trained]], fold_of: NDArray[np.int64]
) -> dict[str, Any]:
    """Writes the teachers of the folds into the folder of the teacher.

    Returns:
        Their record for ``model.json``.
    """
    names = []
    for fold, trained in enumerate(folds):
        path, first = fold_folder(folder, fold), trained[0]
        path.mkdir(parents=True)
        record = first.record | first.training.record() | write_members(path, trained)
        write_classifier(path, first.result.model, record)
        names.append(read_teacher(path, first.record["data"]).sha256)
    np.save(fold_of_file(folder), fold_of)
    return {"folds": asdict(FoldsRecord(hash_file(fold_of_file(folder)), tuple(names)))}


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


def _accuracy(trained: Sequence[Trained]) -> dict[str, float]:
    """Validation accuracy of the mean of networks."""
    val, device = trained[0].training.task.val, trained[0].training.device
    logits = [torch.from_numpy(compute_logits(t.result.model, val, device)) for t in trained]
    scored = score(mean_logits(logits, [t.network.weight for t in trained]).numpy(), val.labels)
    return {
        "val_accuracy": scored.accuracy,
        "val_balanced_accuracy": scored.balanced_accuracy,
    }
