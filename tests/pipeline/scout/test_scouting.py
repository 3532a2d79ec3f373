from dataclasses import asdict, replace
from pathlib import Path

import pytest

from pipeline.errors import ArtifactError
from pipeline.files import write_json
from pipeline.params import Candidate, Scout
from pipeline.scout import scouting
from pipeline.scout.images import ScoutImages
from pipeline.scout.measuring import ScoutSetup, Student, Timing
from pipeline.scout.proposal import describe
from pipeline.scout.scouting import key_of, read_student

FP32 = Candidate(name="fp32", runtime="onnxruntime", precision="fp32")
QAT = Candidate(name="qat", runtime="onnxruntime", precision="int8", method="qat")
INT8 = Candidate(name="int8", runtime="onnxruntime", precision="int8")
OPENVINO = Candidate(name="openvino", runtime="openvino", precision="fp32")
SCOUT = Scout(models=["one"], image_sizes=[96])
IMAGES = ScoutImages("birds", 8, "crop", 3, (b"a",))
SETUP = ScoutSetup(IMAGES, [FP32], 18, SCOUT, 1, Path("deploy"))
STUDENT = Student("one", 96, 10, 20, [Timing("fp32", 5, 1.0, 0.9, 1.1, [1.0, 1.1])])


def test_a_stored_student_is_read_back(tmp_path):
    path = tmp_path / "scout" / "key.json"
    assert read_student(path) is None
    for student in (STUDENT, replace(STUDENT, image_size=(96, 144))):
        write_json(path, asdict(student))
        assert read_student(path) == student


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "key.json").write_text('{"model": "one"}')
    with pytest.raises(ArtifactError, match=r"key\.json.*delete it"):
        read_student(tmp_path / "key.json")


@pytest.mark.parametrize(
    "other",
    [
        ("two", 96, SETUP),
        ("one", 64, SETUP),
        ("one", 96, replace(SETUP, images=replace(SETUP.images, classes=9))),
        ("one", 96, replace(SETUP, candidates=[FP32, INT8])),
        ("one", 96, replace(SETUP, images=replace(SETUP.images, aspect_ratio=1.5))),
        ("one", 96, replace(SETUP, opset=19)),
        ("one", 96, replace(SETUP, threads=2)),
        ("one", 96, replace(SETUP, scout=SCOUT.model_copy(update={"runs": 51}))),
    ],
)
def test_whatever_affects_latency_changes_the_key(other):
    assert key_of(*other) != key_of("one", 96, SETUP)


def test_another_machine_changes_the_key(monkeypatch):
    here = key_of("one", 96, SETUP)
    host = scouting.describe_host()
    monkeypatch.setattr(scouting, "describe_host", lambda: replace(host, cpu="another"))
    assert key_of("one", 96, SETUP) != here


def test_another_code_changes_the_key(monkeypatch):
    here = key_of("one", 96, SETUP)
    used = []
    monkeypatch.setattr(scouting, "code_fingerprint", lambda *code: used.extend(code) or "other")
    assert key_of("one", 96, replace(SETUP, candidates=[FP32, OPENVINO])) != here
    assert [getattr(each, "__name__", each) for each in used] == [
        "pipeline.scout.measuring", "OnnxRuntime", "OpenVINO",
    ]  # fmt: skip


def test_candidates_that_need_training_are_left_out():
    setup = replace(SETUP, candidates=[FP32, QAT, INT8])
    assert (setup.measured, setup.left_out) == ([FP32, INT8], ["qat"])
    facts = describe([STUDENT], setup)
    assert (facts["candidates"], facts["left_out"]) == (["fp32", "int8"], ["qat"])


@pytest.mark.parametrize(
    "other",
    [
        replace(SETUP, candidates=[FP32, QAT]),
        replace(SETUP, scout=Scout(latency_ms=7.0, models=["two"], image_sizes=[32])),
        replace(SETUP, images=replace(SETUP.images, files=(b"b", b"c"))),
    ],
)
def test_budget_and_pixels_do_not_change_the_key(other):
    assert key_of("one", 96, other) == key_of("one", 96, SETUP)
