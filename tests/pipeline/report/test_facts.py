import json
import math

import pytest

from pipeline.errors import ArtifactError
from pipeline.files import read_json, write_json
from pipeline.report.facts import summary

FILES = (
    "data/prepared/dataset.json",
    "models/candidates/candidates.json",
    "models/student/model.json",
    "reports/teacher.json",
    "reports/student.json",
    "reports/teacher_history.csv",
    "reports/student_history.csv",
    "reports/parity.json",
    "reports/evaluations/local.json",
    "reports/verify.json",
    "dist/manifest.json",
)


@pytest.mark.parametrize("file", FILES)
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


def test_a_history_without_epochs_is_refused(run):
    (run.reports / "student_history.csv").write_text("epoch,loss,val_accuracy\n")
    with pytest.raises(ArtifactError, match=r"student_history.csv: .*no epochs"):
        run.read()


@pytest.mark.parametrize(
    ("file", "key", "part"),
    [
        ("models/student/model.json", "weights_sha256", "student"),
    ],
)
def test_a_bundle_made_from_something_else_is_refused(run, file, key, part):
    changed = read_json(run.root / file) | {key: "ff" * 32}
    write_json(run.root / file, changed)
    with pytest.raises(ArtifactError, match=rf"manifest.json: .*another {part}\b"):
        run.read()


def test_candidates_that_the_bundle_was_not_made_from_are_refused(run):
    path = run.root / "models/candidates/candidates.json"
    made = read_json(path)
    for candidate in made["candidates"]:
        candidate["files"] = {"x/model.xml": "ff" * 32}
    write_json(path, made)
    with pytest.raises(ArtifactError, match=r"manifest.json: .*another model"):
        run.read()


def test_another_evaluation_than_that_of_the_bundle_is_refused(run):
    evaluation = read_json(run.reports / "evaluations/local.json")
    evaluation["candidates"][0]["accuracy"] += 0.01
    write_json(run.reports / "evaluations/local.json", evaluation)
    with pytest.raises(ArtifactError, match=r"manifest.json: .*another evaluation"):
        run.read()


def test_a_verification_of_another_candidate_is_refused(run):
    verified = read_json(run.reports / "verify.json") | {"candidate": "onnxruntime-fp32"}
    write_json(run.reports / "verify.json", verified)
    with pytest.raises(ArtifactError, match=r"verify.json: .*onnxruntime-fp32"):
        run.read()


def test_an_invalid_verification_is_refused(run):
    verified = read_json(run.reports / "verify.json")
    del verified["shipped"]["recalls"]
    write_json(run.reports / "verify.json", verified)
    with pytest.raises(ArtifactError, match=r"verify.json: .*shipped.recalls"):
        run.read()


def test_qat_is_read_if_a_candidate_comes_from_it(run):
    assert run.read().qat is None
    run.add_qat()
    assert run.read().qat == read_json(run.root / "models/qat/qat.json")


def test_qat_of_another_student_is_refused(run):
    run.add_qat(student="ff" * 32)
    with pytest.raises(ArtifactError, match=r"qat.json: .*another student"):
        run.read()


def test_the_summary_is_flat_and_agrees_with_the_files(run):
    figures = summary(run.read())
    assert json.loads(json.dumps(figures)) == figures
    assert all(type(value) in (int, float) and math.isfinite(value) for value in figures.values())

    verified = read_json(run.reports / "verify.json")
    evaluation = read_json(run.reports / "evaluations/local.json")
    shipped = next(m for m in evaluation["candidates"] if m["name"] == "openvino-int8-b1")
    rounds = zip(
        evaluation["teacher"]["latency"]["round_ratios"]["p50"],
        shipped["latency"]["round_ratios"]["p50"],
        strict=True,
    )
    assert figures["test_accuracy"] == verified["shipped"]["accuracy"]
    assert figures["test_accuracy_student"] == verified["student"]["accuracy"]
    assert figures["test_accuracy_teacher"] == verified["teacher"]["accuracy"]
    assert figures["test_drop_to_student_points"] == pytest.approx(100 * 3 / 306)
    assert figures["val_accuracy"] == shipped["accuracy"]
    assert figures["p50_ms"] == shipped["latency"]["p50_ms"]
    assert figures["model_bytes"] == 701_640
    assert figures["size_ratio"] == pytest.approx(13_531_207 / 701_640)
    assert figures["multiply_add_ratio"] == pytest.approx(71_234_567 / 10_812_345)
    geometric_mean = math.prod(teacher / own for teacher, own in rounds) ** (1 / 7)
    assert figures["speedup"] == pytest.approx(geometric_mean)


def test_the_measurements_are_those_of_the_selecting_device(run):
    other = read_json(run.reports / "evaluations/local.json") | {"device": "a-pi"}
    write_json(run.reports / "evaluations/a-pi.json", other)
    facts = run.read()
    assert facts.evaluation.device == "local"
    assert [on.evaluation.device for on in facts.other_devices] == ["a-pi"]


def test_a_selecting_device_without_the_teacher_is_refused(run):
    path = run.reports / "evaluations/local.json"
    write_json(path, read_json(path) | {"teacher": None})
    with pytest.raises(ArtifactError, match=r"local.json: .*teacher.*bundle\.device"):
        run.read()
