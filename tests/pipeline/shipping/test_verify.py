from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import ArtifactError
from pipeline.files import hash_file, write_json
from pipeline.measure.accuracy import correct
from pipeline.measure.reliability import fit_temperature
from pipeline.measure.runtime import DeviceRuntime, MeasuredModel
from pipeline.shipping.answers import read_answers
from pipeline.shipping.bundle import build_bundle
from pipeline.shipping.verify import Verification, verify_bundle
from tests.pipeline.measure.linear_model import write_model
from tests.pipeline.shipping.small_chain import Chain, write_chain


@pytest.fixture
def chain(tmp_path: Path) -> Chain:
    chain = write_chain(tmp_path / "run")
    pack(chain)
    return chain


def pack(chain: Chain) -> None:
    dist = chain.root / "dist"
    manifest = build_bundle(chain.spec(), chain.runtime, dist / "small.tar.gz")
    write_json(dist / "manifest.json", manifest)


def verify(chain: Chain) -> Verification:
    dist, onnx = chain.root / "dist", chain.root / "models/onnx"
    return verify_bundle(
        dist / "small.tar.gz",
        manifest=dist / "manifest.json",
        teacher=onnx / "teacher.onnx",
        student=onnx / "student.onnx",
        data=chain.data,
        runtime_folder=chain.runtime,
        answers=chain.root / "answers.csv",
    )


def test_the_bundle_is_judged_with_its_own_runtime(chain: Chain) -> None:
    verified = verify(chain)
    assert verified.bundle_sha256 == hash_file(chain.root / "dist/small.tar.gz")
    assert (verified.data, verified.candidate) == (chain.data.fingerprint, "ort-fp32")
    model = MeasuredModel(chain.root / "models/candidates/ort-fp32/model.onnx", "onnxruntime")
    logits = DeviceRuntime(chain.runtime).predict(model, chain.data.images_path("test"), 1)
    expected = np.mean(correct(logits, chain.data.split("test").labels))
    assert verified.shipped.accuracy == pytest.approx(expected)


def test_the_answers_are_those_that_the_accuracies_are_of(chain: Chain) -> None:
    verified, path = verify(chain), chain.root / "answers.csv"
    answers = read_answers(path, chain.data.classes)
    assert verified.answers_sha256 == hash_file(path)
    assert list(answers.names) == chain.data.names("test")
    assert answers.labels.tolist() == chain.data.split("test").labels.tolist()
    for name, found in answers.models.items():
        accuracy = np.mean(found.predictions == answers.labels)
        assert getattr(verified, name).accuracy == pytest.approx(accuracy)


def test_the_temperature_is_that_of_the_validation_images(chain: Chain) -> None:
    verified = verify(chain)
    model = MeasuredModel(chain.root / "models/candidates/ort-fp32/model.onnx", "onnxruntime")
    logits = DeviceRuntime(chain.runtime).predict(model, chain.data.images_path("val"), 1)
    expected = fit_temperature(logits, chain.data.split("val").labels)
    assert verified.scaled.temperature == pytest.approx(expected)
    assert verified.reliability.temperature == 1
    assert sum(each.images for each in verified.scaled.bins) == verified.images


def use_other_data(chain: Chain) -> None:
    chain.data = write_chain(chain.root.parent / "other", seed=1).data


def use_other_archive(chain: Chain) -> None:
    other = write_chain(chain.root.parent / "other", seed=1)
    pack(other)
    (other.root / "dist/small.tar.gz").replace(chain.root / "dist/small.tar.gz")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (use_other_data, "manifest.json: was made from data/prepared .*, which is now "),
        (use_other_archive, "small.tar.gz: has another manifest"),
        (
            lambda c: write_model(c.root / "models/onnx/student.onnx", scale=0.5),
            "manifest.json: was made from models/onnx/student.onnx .*, which is now ",
        ),
        (
            lambda c: (c.root / "models/onnx/teacher.onnx").write_bytes(b""),
            "manifest.json: was made from models/onnx/teacher.onnx .*, which is now ",
        ),
        (lambda c: (c.root / "models/onnx/teacher.onnx").unlink(), "teacher.onnx: is missing"),
        (lambda c: (c.root / "dist/manifest.json").unlink(), "manifest.json: is missing"),
        (lambda c: c.edit("dist/manifest.json", threads=None), "manifest.json: .*threads"),
        (lambda c: c.edit("dist/manifest.json", made_from={}), "manifest.json: .*made_from"),
        (lambda c: c.edit("dist/manifest.json", labels=list("cba")), "another manifest"),
    ],
)
def test_a_bundle_of_other_inputs_is_refused(
    chain: Chain, change: Callable[[Chain], object], expected: str
) -> None:
    change(chain)
    with pytest.raises(ArtifactError, match=expected) as error:
        verify(chain)
    assert "\n" not in str(error.value)
