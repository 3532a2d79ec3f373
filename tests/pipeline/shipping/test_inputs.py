from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.errors import ArtifactError
from pipeline.files import hash_file, read_json, write_json
from tests.pipeline.shipping.small_chain import Chain, write_chain


@pytest.fixture
def chain(tmp_path: Path) -> Chain:
    return write_chain(tmp_path / "run")


def test_artifacts_of_one_run_belong_together(chain: Chain) -> None:
    inputs = chain.read()
    onnx = chain.root / "models/onnx"
    assert inputs.data.fingerprint == chain.data.fingerprint
    assert inputs.onnx == {n: hash_file(onnx / n) for n in ("student.onnx", "teacher.onnx")}
    assert inputs.candidate("ort-int8").model == "ort-int8/model.onnx"


PARTS = {
    "data/prepared": "models/student/model.json: .*data/prepared",
    "models/student": "models/student/model.json: .*data/prepared",
    "models/candidates": "candidates.json: .*data/prepared",
    "models/onnx/student.onnx": "candidates.json: .*models/onnx/student.onnx",
    "reports/evaluations": "evaluations/local.json: .*data/prepared",
}


@pytest.mark.parametrize("part", PARTS)
def test_a_part_of_another_run_is_refused_with_both_hashes(
    chain: Chain, tmp_path: Path, part: str
) -> None:
    other = write_chain(tmp_path / "other", seed=1)
    target = chain.root / part
    if target.is_dir():
        shutil.rmtree(target)
        shutil.copytree(other.root / part, target)
    else:
        shutil.copy(other.root / part, target)
    with pytest.raises(ArtifactError, match=PARTS[part]) as error:
        chain.read()
    assert "\n" not in str(error.value)
    assert str(error.value).count(", which is now ") == 1


def rename(chain: Chain) -> None:
    evaluation = read_json(chain.evaluated)
    evaluation["candidates"][1]["name"] = "other"
    write_json(chain.evaluated, evaluation)


def measure_other_files(chain: Chain) -> None:
    evaluation = read_json(chain.evaluated)
    evaluation["candidates"][1]["files"] = {"ort-int8/model.onnx": "00" * 32}
    write_json(chain.evaluated, evaluation)


def measure_more_files(chain: Chain) -> None:
    evaluation = read_json(chain.evaluated)
    evaluation["candidates"][1]["files"]["ort-int8/model.data"] = "00" * 32
    write_json(chain.evaluated, evaluation)


def state_accuracy(value: object) -> Callable[[Chain], None]:
    def change(chain: Chain) -> None:
        evaluation = read_json(chain.evaluated)
        evaluation["candidates"][1]["accuracy"] = value
        write_json(chain.evaluated, evaluation)

    return change


def change_runtime(chain: Chain) -> None:
    copy = chain.root / "deploy"
    shutil.copytree(chain.runtime / "finch_runtime", copy / "finch_runtime")
    with (copy / "finch_runtime/session.py").open("a") as file:
        file.write("# changed\n")
    chain.runtime = copy


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (rename, "local.json: .*(other, which candidates.json does not list|ort-int8, without)"),
        (measure_other_files, "models/candidates/ort-int8/model.onnx 000000000000, which is now"),
        (measure_more_files, "local.json: measured other files of ort-int8"),
        (state_accuracy(7), "local.json: .*invalid value .*accuracy"),
        (state_accuracy(None), "local.json: .*invalid value .*accuracy"),
        (change_runtime, "local.json: was made from deploy/python/finch_runtime"),
        (lambda c: c.edit("reports/evaluations/local.json", data=None), "does not record the data"),
        (lambda c: c.edit("reports/evaluations/local.json", reference="ort-int8"), "reference"),
        (lambda c: c.edit("models/candidates/candidates.json", made_from=None), "not record"),
        (lambda c: c.edit("models/candidates/candidates.json", candidates=7), "invalid value"),
        (lambda c: c.listed.write_text("[" * 100_000), "candidates.json: .*not JSON"),
        (
            lambda c: c.edit("models/student/model.json", teacher_logits={}),
            "teacher_logits.teacher",
        ),
        (lambda c: (c.root / "models/onnx/student.onnx").unlink(), "student.onnx: is missing"),
    ],
)
def test_what_was_not_measured_is_refused(
    chain: Chain, change: Callable[[Chain], object], expected: str
) -> None:
    change(chain)
    with pytest.raises(ArtifactError, match=expected) as error:
        chain.read()
    assert "\n" not in str(error.value)
