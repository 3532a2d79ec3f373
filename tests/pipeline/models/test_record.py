from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import ArtifactError
from pipeline.models.record import FORMAT, read_student, read_teacher

DATA, TEACHER, CACHE = "da" * 32, "7e" * 32, "ca" * 32
RECORD: dict[str, Any] = {
    "format": FORMAT,
    "classes": ["ape", "bee"],
    "image_size": 32,
    "weights_sha256": "57" * 32,
    "data": DATA,
    "code": "c0" * 32,
    "reports": {"student.json": "11" * 32, "student_history.csv": "22" * 32},
    "recipe": {"epochs": 2},
    "teacher_logits": {"teacher": TEACHER, "data": DATA, "views": "33" * 32},
    "cache": CACHE,
    "class_order": {"order": [1, 0], "sha256": "44" * 32},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model.json").write_text(json.dumps(RECORD))
    return tmp_path


def test_a_record_of_the_present_inputs_is_read(folder: Path) -> None:
    assert read_teacher(folder, DATA).weights_sha256 == RECORD["weights_sha256"]
    student = read_student(folder, DATA, teacher=TEACHER, teacher_logits=CACHE)
    assert (student.classes, student.class_order.order) == (("ape", "bee"), [1, 0])
    assert student.reports == RECORD["reports"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"data": "00" * 32}, "data/prepared"),
        ({"teacher": "00" * 32}, "models/teacher"),
        ({"teacher_logits": "00" * 32}, "data/teacher_logits"),
    ],
)
def test_another_input_is_refused_with_both_hashes(
    folder: Path, change: dict[str, str], named: str
) -> None:
    present = {"data": DATA, "teacher": TEACHER, "teacher_logits": CACHE}
    (key,) = change
    with pytest.raises(ArtifactError, match=f"{named} {present[key][:12]}, .* now 000000000000"):
        read_student(folder, **(present | change))


@pytest.mark.parametrize("key", [key for key in RECORD if key != "format"])
@pytest.mark.parametrize("value", [None, 7.5, "missing"])
def test_a_missing_or_impossible_value_is_one_line(folder: Path, key: str, value: Any) -> None:
    changed = RECORD | {key: value}
    if value == "missing":
        del changed[key]
    (folder / "model.json").write_text(json.dumps(changed))
    with pytest.raises(ArtifactError, match=rf"model\.json: has an invalid value \({key}") as error:
        read_student(folder, DATA)
    assert "\n" not in str(error.value)


def test_another_format_is_refused(folder: Path) -> None:
    (folder / "model.json").write_text(json.dumps(RECORD | {"format": 1}))
    with pytest.raises(ArtifactError, match=f"format 1, expected {FORMAT}"):
        read_teacher(folder, DATA)
