"""Cross-fitted answers: every training image is answered by a teacher that never saw it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.errors import ArtifactError
from pipeline.files import hash_file, open_array
from pipeline.models.classifier import Classifier
from pipeline.models.ensemble import Ensemble, load_teacher
from pipeline.models.inference import teacher_logits
from pipeline.models.record import TeacherRecord, fold_folder, fold_of_file, read_teacher
from pipeline.provenance import check_inputs
from pipeline.transfers import to_device


@dataclass(frozen=True)
class FoldTeachers:
    """The teachers of the folds of the training images.

    Attributes:
        teachers: The teacher of each fold, which learned from all other folds, in evaluation mode.
        fold_of: Fold of every training image, int64 [n].
        whole: The teacher that learned from all training images. It answers for images with higher
            numbers, which none of the teachers learned from.
    """

    teachers: tuple[Classifier | Ensemble, ...]
    fold_of: NDArray[np.int64]
    whole: Classifier | Ensemble

    def logits(self, pixels: Tensor, indices: NDArray[np.int64], precision: torch.dtype) -> Tensor:
        """Logits float32 [n, classes]; see ``teacher_logits``. ``indices`` are int64 [n]."""
        known = indices < len(self.fold_of)
        folds = np.where(known, self.fold_of[np.where(known, indices, 0)], len(self.teachers))
        answering = (*self.teachers, self.whole)
        answers = pixels.new_empty(len(indices), len(self.whole.spec.classes))
        for fold in np.unique(folds).tolist():
            rows = to_device(np.flatnonzero(folds == fold), pixels.device)
            answers[rows] = teacher_logits(answering[fold], pixels[rows], precision)
        return answers


def open_fold_teachers(
    folder: Path, record: TeacherRecord, whole: Classifier | Ensemble, device: torch.device
) -> FoldTeachers | None:
    """Loads the teachers of the folds.

    Args:
        folder: Folder of the teacher.
        record: Its ``model.json``.
        whole: The teacher that learned from all training images.
        device: Device of the networks.

    Returns:
        The teachers; None if the teacher has no folds.

    Raises:
        ArtifactError: A file is missing or damaged, or is not the one in the record.
    """
    if record.folds is None:
        return None
    info, path, teachers = folder / "model.json", fold_of_file(folder), []
    fold_of = np.array(open_array(path))
    name = path.relative_to(folder).as_posix()
    check_inputs(info, {name: record.folds.fold_of_sha256}, **{name: hash_file(path)})
    for index, sha256 in enumerate(record.folds.teachers):
        own = fold_folder(folder, index)
        found = read_teacher(own, record.data)
        name = own.relative_to(folder).as_posix()
        check_inputs(info, {name: sha256}, **{name: found.sha256})
        if found.classes != record.classes:
            raise ArtifactError(own / "model.json", "has other classes than the teacher's")
        teachers.append(load_teacher(own, found, device))
    return FoldTeachers(tuple(teachers), fold_of, whole)
