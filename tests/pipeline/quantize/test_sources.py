from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import numpy_helper

from pipeline.errors import ArtifactError
from pipeline.export.onnx_metadata import MadeFrom, describe
from pipeline.files import hash_file, write_json
from pipeline.models.classifier import Spec
from pipeline.quantize.sources import Sources, read_sources

DATA, STUDENT = "da" * 32, "57" * 32
NAMES = ("student.onnx", "student-b1.onnx")
SPEC = Spec("student", tuple("abcde"), 32, (0.5,) * 3, (0.5,) * 3)


def add_metadata(source: Path, target: Path, made_from: MadeFrom) -> None:
    model = onnx.load(source)
    del model.metadata_props[:]
    for key, value in describe(SPEC, "crop", made_from).items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    onnx.save(model, target)


@pytest.fixture
def models(exported: dict[str, Path], tmp_path: Path) -> Path:
    """The folders onnx and qat, and parity.json, as the stages write them."""
    parity = {}
    for folder in ("onnx", "qat"):
        (tmp_path / folder).mkdir()
        for name in NAMES:
            add_metadata(exported["dynamic"], tmp_path / folder / name, MadeFrom(STUDENT, DATA))
            sha256 = hash_file(tmp_path / folder / name)
            parity[Path(name).stem] = {"images": 64, "differences": [], "sha256": sha256}
    write_json(tmp_path / "parity.json", parity)
    files = {name: hash_file(tmp_path / "qat" / name) for name in NAMES}
    record = {"epochs": 1, "student": STUDENT, "data": DATA, "cache": "ca" * 32, "files": files}
    write_json(tmp_path / "qat/qat.json", record)
    return tmp_path


def read(models: Path, data: str = DATA) -> Sources:
    return read_sources(models / "onnx", models / "parity.json", models / "qat", data)


def negate_weights(models: Path, path: str) -> None:
    model = onnx.load(models / path)
    for weights in model.graph.initializer:
        if len(weights.dims) == 2:
            negated = -numpy_helper.to_array(weights)
            weights.CopyFrom(numpy_helper.from_array(negated, weights.name))
    onnx.save(model, models / path)


def edit(models: Path, path: str, **changes: object) -> None:
    write_json(models / path, json.loads((models / path).read_text()) | changes)


def test_the_sources_are_recorded(models: Path) -> None:
    sources = read(models)
    assert (sources.data, sources.student) == (DATA, STUDENT)
    assert sources.onnx == {name: hash_file(models / "onnx" / name) for name in NAMES}
    assert sources.qat == {name: hash_file(models / "qat" / name) for name in NAMES}
    assert read_sources(models / "onnx", models / "parity.json", None, DATA).qat == {}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda m: negate_weights(m, "onnx/student.onnx"), r"parity\.json: .*onnx/student\.onnx"),
        (lambda m: negate_weights(m, "qat/student-b1.onnx"), r"qat\.json: .*qat/student-b1\.onnx"),
        (lambda m: (m / "onnx/student.onnx").write_bytes(b""), "student.onnx: has no valid metad"),
        (lambda m: (m / "qat/student.onnx").unlink(), r"qat/student\.onnx: is missing"),
        (lambda m: edit(m, "qat/qat.json", student="00" * 32), "qat.json: .*models/student 0000"),
        (lambda m: edit(m, "qat/qat.json", data="00" * 32), "qat.json: .*data/prepared 0000"),
        (lambda m: edit(m, "qat/qat.json", files=None), "qat.json: .*invalid value .*files"),
        (lambda m: edit(m, "qat/qat.json", epochs=0), "qat.json: .*qat.epochs 0"),
        (lambda m: write_json(m / "parity.json", {}), "parity.json: does not record"),
        (lambda m: shutil.rmtree(m / "onnx"), r"student\.onnx: is missing"),
    ],
)
def test_files_that_were_not_compared_are_refused(
    models: Path, change: Callable[[Path], object], expected: str
) -> None:
    change(models)
    with pytest.raises(ArtifactError, match=expected) as error:
        read(models)
    assert "\n" not in str(error.value)


def test_other_data_is_refused(models: Path) -> None:
    with pytest.raises(ArtifactError, match="data/prepared dadadadadada, which is now 0000"):
        read(models, data="00" * 32)
