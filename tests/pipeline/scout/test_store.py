from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.errors import ArtefactError
from pipeline.params import Candidate, Scout
from pipeline.scout import store as store_module
from pipeline.scout.measuring import ScoutSetup, Student, Timing
from pipeline.scout.photographs import Photographs
from pipeline.scout.store import StudentStore, key_of

FP32 = Candidate(name="fp32", runtime="onnxruntime", precision="fp32")
INT8 = Candidate(name="int8", runtime="onnxruntime", precision="int8")
BENCH = ScoutSetup(Photographs("birds", 8, "crop", (b"a",)), [FP32], 18, Scout(), 1, Path("deploy"))
STUDENT = Student("one", 96, 10, 20, [Timing("fp32", 5, 1.0, 0.9, 1.1, [1.0, 1.1])])


def test_a_student_that_was_kept_is_read_as_it_was(tmp_path):
    store = StudentStore(tmp_path / "scout")
    assert store.read("key") is None
    store.keep("key", STUDENT)
    assert StudentStore(tmp_path / "scout").read("key") == STUDENT
    assert store.read("other") is None


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "key.json").write_text('{"model": "one"}')
    with pytest.raises(ArtefactError, match=r"key\.json: is no measured student; delete it"):
        StudentStore(tmp_path).read("key")


@pytest.mark.parametrize(
    "other",
    [
        ("two", 96, BENCH),
        ("one", 64, BENCH),
        ("one", 96, replace(BENCH, photographs=replace(BENCH.photographs, classes=9))),
        ("one", 96, replace(BENCH, candidates=[FP32, INT8])),
        ("one", 96, replace(BENCH, opset=19)),
        ("one", 96, replace(BENCH, threads=2)),
        ("one", 96, replace(BENCH, scout=Scout(runs=51))),
    ],
)
def test_what_bears_on_latency_is_another_measurement(other):
    assert key_of(*other) != key_of("one", 96, BENCH)


def test_another_machine_is_another_measurement(monkeypatch):
    here = key_of("one", 96, BENCH)
    host = store_module.describe_host()
    monkeypatch.setattr(store_module, "describe_host", lambda: replace(host, cpu="another"))
    assert key_of("one", 96, BENCH) != here


@pytest.mark.parametrize(
    "other",
    [
        replace(BENCH, scout=Scout(latency_ms=7.0, models=["two"], image_sizes=[32])),
        replace(BENCH, photographs=replace(BENCH.photographs, files=(b"b", b"c"))),
    ],
)
def test_budget_and_pictures_are_not(other):
    assert key_of("one", 96, other) == key_of("one", 96, BENCH)
