"""Reading the artifacts of a run: damaged files, and files of another run."""

import json
import random

import pytest

from pipeline.errors import ArtifactError
from pipeline.files import hash_file, read_json, write_json
from pipeline.report.page import render

FILES = (
    "data/prepared/dataset.json",
    "models/candidates/candidates.json",
    "models/teacher/model.json",
    "models/student/model.json",
    "reports/teacher.json",
    "reports/student.json",
    "reports/teacher_history.csv",
    "reports/student_history.csv",
    "reports/parity.json",
    "reports/evaluations/local.json",
    "reports/test_answers.csv",
    "reports/verify.json",
    "dist/manifest.json",
)
OTHER = "ff" * 32


@pytest.mark.parametrize("file", [*FILES, "dist/finch-student.tar.gz"])
def test_a_missing_file_is_named(run, file):
    (run.root / file).unlink()
    with pytest.raises(ArtifactError, match="is missing") as caught:
        run.read()
    assert caught.value.path == run.root / file


@pytest.mark.parametrize("file", FILES)
def test_a_truncated_file_is_named(run, file):
    text = (run.root / file).read_text()
    cut = text.rindex(",") if file.endswith(".csv") else len(text) // 2
    (run.root / file).write_text(text[:cut])
    with pytest.raises(ArtifactError) as caught:
        run.read()
    assert caught.value.path == run.root / file


def places(value, at=()):
    """The keys of all values in a JSON value."""
    if isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield (*at, key)
            yield from places(part, (*at, key))


JSON_FILES = [file for file in FILES if file.endswith(".json")]


@pytest.mark.parametrize("file", [*JSON_FILES, "models/qat/qat.json"])
def test_a_missing_null_or_wrong_value_is_an_artifact_error_or_harmless(run, file):
    run.add_qat()
    intact = (run.root / file).read_text()
    chance = random.Random(file)
    every = sorted(places(json.loads(intact)), key=str)
    whole = run.read()
    for *parents, last in chance.sample(every, min(5, len(every))):
        for change in ("remove", None, [], -1, "x"):
            value = part = json.loads(intact)
            for key in parents:
                part = part[key]
            if change == "remove":
                del part[last]
            else:
                part[last] = change
            write_json(run.root / file, value)
            try:
                facts = run.read()
            except ArtifactError as error:
                assert len(str(error).splitlines()) == 1
            else:
                assert facts == whole or render(facts)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("epoch,loss,val_accuracy\n", "no epochs"),
        ("epoch,loss\n1,2\n", "no column val_accuracy"),
        ("epoch,loss,val_accuracy\n1,nan,0.5\n", "not a finite number"),
        ("epoch,loss,val_accuracy\n1,x,0.5\n", "cannot be read"),
        ("epoch,loss,val_accuracy\n1,2,0.5\n", "is .*, but student/model.json records"),
    ],
)
def test_a_wrong_history_is_refused(run, text, problem):
    (run.reports / "student_history.csv").write_text(text)
    with pytest.raises(ArtifactError, match=f"student_history.csv: .*{problem}"):
        run.read()


@pytest.mark.parametrize(
    ("changed", "keys", "refused", "names"),
    [
        ("models/teacher/model.json", ["weights_sha256"], "student/model.json", "models/teacher"),
        ("models/teacher/model.json", ["data"], "teacher/model.json", "data/prepared"),
        ("models/student/model.json", ["weights_sha256"], "candidates.json", "models/student"),
        ("models/student/model.json", ["data"], "student/model.json", "data/prepared"),
        ("models/student/model.json", ["cache"], "qat.json", "data/teacher_logits"),
        ("models/qat/qat.json", ["student"], "qat.json", "models/student"),
        ("models/qat/qat.json", ["data"], "qat.json", "data/prepared"),
        ("models/qat/qat.json", ["files", "student.onnx"], "candidates.json", "student.onnx"),
        ("models/candidates/candidates.json", ["made_from", "data"], "candidates.json", "data/p"),
        ("models/candidates/candidates.json", ["made_from", "onnx"], "candidates.json", "student"),
        (
            "models/candidates/candidates.json",
            ["candidates", 5, "files", "openvino-int8-b1/model"],
            "evaluations/local.json",
            "openvino-int8-b1/model",
        ),
        ("reports/parity.json", ["student-b1", "sha256"], "candidates.json", "student-b1.onnx"),
        ("reports/parity.json", ["teacher", "sha256"], "local.json", "teacher.onnx"),
        ("reports/evaluations/local.json", ["images"], "manifest.json", "reports/evaluations"),
        ("reports/evaluations/local.json", ["data"], "local.json", "data/prepared"),
        ("reports/evaluations/local.json", ["teacher", "files", "teacher.onnx"], "local.json", "t"),
        ("reports/verify.json", ["data"], "verify.json", "data/prepared"),
        ("reports/verify.json", ["bundle_sha256"], "verify.json", "finch-student.tar.gz"),
        ("dist/manifest.json", ["made_from", "data"], "manifest.json", "data/prepared"),
        ("dist/manifest.json", ["made_from", "teacher"], "manifest.json", "models/teacher"),
        ("dist/manifest.json", ["made_from", "student"], "manifest.json", "models/student"),
        ("dist/manifest.json", ["made_from", "onnx", "student.onnx"], "manifest.json", "student"),
        ("dist/manifest.json", ["made_from", "onnx", "teacher.onnx"], "manifest.json", "teacher"),
        ("dist/manifest.json", ["made_from", "model"], "manifest.json", "openvino-int8-b1"),
    ],
)
def test_a_file_of_another_run_is_refused(run, changed, keys, refused, names):
    run.add_qat()
    run.read()
    to = {"onnx": {}, "model": {}, "images": 335}.get(keys[-1], OTHER)
    run.change(changed, *keys, to=to)
    with pytest.raises(ArtifactError, match=names) as caught:
        run.read()
    assert str(caught.value.path).endswith(refused)
    assert to != OTHER or OTHER[:12] in str(caught.value)


def test_reports_of_another_training_are_refused(run):
    run.change("reports/teacher.json", "val_accuracy", to=0.99)
    with pytest.raises(ArtifactError, match=r"reports/teacher.json: .*teacher/model.json records"):
        run.read()


def test_measurements_of_other_files_on_another_device_are_refused(run):
    other = read_json(run.reports / "evaluations/local.json") | {"device": "a-pi"}
    write_json(run.reports / "evaluations/a-pi.json", other)
    facts = run.read()
    assert facts.evaluation.device == "local"
    assert [on.device for on in facts.other_devices] == ["a-pi"]
    place = ("candidates", 0, "files", "onnxruntime-fp32/model")
    run.change("reports/evaluations/a-pi.json", *place, to=OTHER)
    with pytest.raises(ArtifactError, match=r"a-pi.json: .*ffffffffffff"):
        run.read()


@pytest.mark.parametrize(
    ("file", "keys", "to", "problem"),
    [
        ("reports/verify.json", ["candidate"], "onnxruntime-fp32", "is for onnxruntime-fp32"),
        ("reports/verify.json", ["student", "recalls"], [0.5], "1 recalls for 6 classes"),
        ("dist/manifest.json", ["chosen", "name"], "x", "x, which local did not measure"),
        ("dist/manifest.json", ["candidates"], [], "no verdict on"),
        ("models/student/model.json", ["class_order", "order"], [0, 1], "class order"),
        ("reports/parity.json", ["student"], None, "student"),
        ("reports/student.json", ["val_accuracy"], 7, "val_accuracy"),
    ],
)
def test_files_that_contradict_each_other_are_refused(run, file, keys, to, problem):
    run.change(file, *keys, to=to)
    with pytest.raises(ArtifactError, match=problem) as caught:
        run.read()
    assert caught.value.path == run.root / file


def test_qat_is_read_if_a_candidate_comes_from_it(run):
    assert run.read().qat is None
    run.add_qat()
    assert run.read().qat.accuracy_int8 == run.qat["accuracy_int8"]


def test_a_teacher_that_was_not_trained_has_no_curve_and_no_loss(run):
    (run.reports / "teacher_history.csv").write_text("epoch,loss,val_accuracy\n0,,0.5\n")
    run.change("reports/teacher.json", "best_epoch", to=0)
    for key, value in {"pretrained": "file", "weights": "w.pth", "epochs": 0}.items():
        run.change("models/teacher/model.json", "recipe", key, to=value)
    for name in ("teacher.json", "teacher_history.csv"):
        digest = hash_file(run.reports / name)
        run.change("models/teacher/model.json", "reports", name, to=digest)
    facts = run.read()
    assert facts.teacher.history == [{"epoch": 0.0, "val_accuracy": 0.5}]
    assert "Not trained" in render(facts)
    (run.reports / "teacher_history.csv").write_text("epoch,loss,val_accuracy\n1,,0.5\n")
    with pytest.raises(ArtifactError, match="no column loss"):
        run.read()
