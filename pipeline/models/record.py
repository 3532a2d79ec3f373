"""What ``model.json`` records of a trained teacher and student."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import Field, PositiveFloat

from pipeline.errors import ArtifactError
from pipeline.files import hash_value, parse_artifact, read_json
from pipeline.provenance import check_inputs

FORMAT = 2

ClassNames = Annotated[tuple[str, ...], Field(min_length=1)]
Side = Annotated[int, Field(ge=1, le=4096)]
StoredSize = Side | tuple[Side, Side]
"""``finch_runtime.image_size.ImageSize``, in range."""


@dataclass(frozen=True)
class ModelRecord:
    """A network, and what it was made from.

    Attributes:
        classes: Class names, in the order of the logits.
        image_size: Size of the images.
        weights_sha256: SHA-256 of the weights file.
        data: Fingerprint of the prepared data.
        code: Fingerprint of the code that trained it.
        reports: SHA-256 of each report that the training wrote, by file name.
        recipe: Parameters of the training stage.
    """

    classes: ClassNames
    image_size: StoredSize
    weights_sha256: str
    data: str
    code: str
    reports: dict[str, str]
    recipe: dict[str, Any]


@dataclass(frozen=True)
class MemberRecord:
    """SHA-256 of the weights of a member of the teacher, and the weight of its logits."""

    weights_sha256: str
    weight: PositiveFloat


@dataclass(frozen=True)
class FoldsRecord:
    """The teachers of the folds of the training images.

    Attributes:
        fold_of_sha256: SHA-256 of the file with the fold of every training image.
        teachers: ``TeacherRecord.sha256`` of each, in the order of the folds.
    """

    fold_of_sha256: str
    teachers: tuple[str, ...]


@dataclass(frozen=True)
class TeacherRecord(ModelRecord):
    """The teacher, and what it was made from.

    Attributes:
        members: Further networks, see ``member_folder``.
        folds: Teachers that each learned from all folds but one, see ``fold_folder``; None if the
            teacher answers for all images itself.
    """

    members: tuple[MemberRecord, ...] = ()
    folds: FoldsRecord | None = None

    @property
    def sha256(self) -> str:
        """SHA-256 that names the teacher: of its weights; with members or folds, of theirs too."""
        if not self.members and self.folds is None:
            return self.weights_sha256
        parts = [self.weights_sha256, [astuple(member) for member in self.members]]
        return hash_value([*parts, *([] if self.folds is None else [astuple(self.folds)])])


def member_folder(teacher: Path, index: int) -> Path:
    """The folder of a member, in that of the teacher."""
    return teacher / "members" / str(index)


def fold_folder(teacher: Path, index: int) -> Path:
    """The folder of the teacher of a fold, in that of the teacher; it has the same layout."""
    return teacher / "folds" / str(index)


def fold_of_file(teacher: Path) -> Path:
    """The fold of every training image, int64 [n]."""
    return teacher / "folds" / "fold_of.npy"


@dataclass(frozen=True)
class LearnedFrom:
    """Key of the logit cache: teacher, prepared data and view recipe, as hashes."""

    teacher: str
    data: str
    views: str


@dataclass(frozen=True)
class ClassOrder:
    """Class indices in the order of the wavelet transform's axis, and SHA-256 of their names."""

    order: list[int]
    sha256: str


@dataclass(frozen=True)
class StudentRecord(ModelRecord):
    """The student, and what it was made from.

    Attributes:
        teacher_logits: Key of the logit cache.
        cache: SHA-256 of ``cache.json``.
        class_order: Order of the classes.
    """

    teacher_logits: LearnedFrom
    cache: str
    class_order: ClassOrder


Record = TypeVar("Record", bound=ModelRecord)


def read_teacher(folder: Path, data: str) -> TeacherRecord:
    """Reads ``model.json`` of the teacher.

    Args:
        folder: Folder of the teacher.
        data: Fingerprint of the prepared data.

    Raises:
        ArtifactError: The file is missing or damaged, or the teacher learned from other data.
    """
    return _read(folder, TeacherRecord, data)


def read_student(folder: Path, data: str, **present: str) -> StudentRecord:
    """Reads ``model.json`` of the student.

    Args:
        folder: Folder of the student.
        data: Fingerprint of the prepared data.
        present: Hashes to compare: ``teacher``, as ``TeacherRecord.sha256``; ``teacher_logits`` of
            the file ``cache.json``.

    Raises:
        ArtifactError: The file is missing or damaged, or the student learned from other inputs.
    """
    record = _read(folder, StudentRecord, data)
    learned_from = {"teacher": record.teacher_logits.teacher, "teacher_logits": record.cache}
    check_inputs(folder / "model.json", learned_from, **present)
    return record


def _read(folder: Path, kind: type[Record], data: str) -> Record:
    path = folder / "model.json"
    info = read_json(path)
    check_format(path, info)
    record = parse_artifact(path, kind, info)
    check_inputs(path, {"data": record.data}, data=data)
    return record


def check_format(path: Path, info: dict[str, Any]) -> None:
    """Checks the format of ``model.json``.

    Raises:
        ArtifactError: An earlier or later version wrote it.
    """
    if info.get("format") != FORMAT:
        raise ArtifactError(path, f"has format {info.get('format')!r}, expected {FORMAT}")
