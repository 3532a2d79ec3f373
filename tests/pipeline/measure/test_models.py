"""The files of candidates.json, compared with those on disk."""

import json
from dataclasses import dataclass, replace

import numpy as np
import onnx
import pytest

from pipeline.errors import ArtifactError
from pipeline.files import hash_file
from pipeline.measure.models import EvaluationInputs, check_origin, find_models
from tests.pipeline.measure.linear_model import SIZE, write_model
from tests.prepared_data import write_prepared


@dataclass(frozen=True)
class Folder:
    inputs: EvaluationInputs
    index: dict

    def write(self):
        path = self.inputs.candidates / "candidates.json"
        path.write_text(json.dumps(self.index))


@pytest.fixture
def made(tmp_path):
    listed = []
    for name, files in {"fp32": ["model.onnx"], "vino": ["model.bin", "model.xml"]}.items():
        (tmp_path / name).mkdir()
        for file in files:
            (tmp_path / name / file).write_text(f"{name} {file}")
        listed.append(
            {
                "name": name,
                "runtime": "onnxruntime",
                "precision": "fp32",
                "batch": 1,
                "runtime_version": "1",
                "model": f"{name}/{files[-1]}",
                "files": {f"{name}/{file}": hash_file(tmp_path / name / file) for file in files},
                "bytes": 9,
            }
        )
    (tmp_path / "teacher.onnx").write_text("teacher")
    inputs = EvaluationInputs(tmp_path, tmp_path / "teacher.onnx", None, tmp_path)
    folder = Folder(inputs, {"candidates": listed, "reference": "fp32"})
    folder.write()
    return folder


def test_every_file_has_its_hash(made, tmp_path):
    _, infos, models = find_models(made.inputs)
    assert list(infos) == list(models) == ["fp32", "vino", "teacher"]
    assert infos["vino"].files == made.index["candidates"][1]["files"]
    assert infos["teacher"].files == {"teacher.onnx": hash_file(tmp_path / "teacher.onnx")}
    assert models["vino"].path == tmp_path / "vino/model.xml"


@pytest.mark.parametrize("name", ["fp32/model.onnx", "vino/model.bin"])
def test_a_file_that_is_not_the_listed_one_is_refused(made, tmp_path, name):
    listed = hash_file(tmp_path / name)
    (tmp_path / name).write_text("another model")
    with pytest.raises(ArtifactError) as caught:
        find_models(made.inputs)
    assert caught.value.path == tmp_path / name
    assert listed[:12] in str(caught.value) and hash_file(tmp_path / name)[:12] in str(caught.value)


@pytest.mark.parametrize("name", ["fp32/model.onnx", "vino/model.bin", "teacher.onnx"])
def test_a_missing_file_is_named(made, tmp_path, name):
    (tmp_path / name).unlink()
    with pytest.raises(ArtifactError, match="is missing") as caught:
        find_models(made.inputs)
    assert caught.value.path == tmp_path / name


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda index: index.pop("reference"), "reference"),
        (lambda index: index.update(reference="int8"), "int8"),
        (lambda index: index.update(candidates=None), "candidates"),
        (lambda index: index["candidates"][0].pop("files"), "files"),
        (lambda index: index["candidates"][0].update(files={}), "fp32/model.onnx"),
        (lambda index: index["candidates"][0].update(bytes="many"), "bytes"),
    ],
)
def test_an_invalid_index_is_one_line(made, change, match):
    change(made.index)
    made.write()
    with pytest.raises(ArtifactError, match=match) as caught:
        find_models(made.inputs)
    assert "\n" not in str(caught.value)


def test_models_of_other_data_are_refused(made, tmp_path):
    images = np.zeros((3, SIZE, SIZE, 3), np.uint8)
    data = write_prepared(tmp_path / "data", "abc", {"val": (images, np.arange(3))})
    inputs = replace(made.inputs, data=data)

    def record(candidates, teacher):
        made.index["made_from"] = {"data": candidates}
        made.write()
        write_model(inputs.teacher)
        model = onnx.load(inputs.teacher)
        made_from = json.dumps({"model": "7e" * 32, "data": teacher})
        onnx.helper.set_model_props(model, {"finch.made_from": made_from})
        onnx.save(model, inputs.teacher)

    record(data.fingerprint, data.fingerprint)
    check_origin(inputs)
    record("00" * 32, data.fingerprint)
    with pytest.raises(ArtifactError, match=r"candidates\.json: .*data/prepared 0000"):
        check_origin(inputs)
    record(data.fingerprint, "00" * 32)
    with pytest.raises(ArtifactError, match=r"teacher\.onnx: .*data/prepared 0000"):
        check_origin(inputs)
    record(None, data.fingerprint)
    with pytest.raises(ArtifactError, match=r"candidates\.json: does not record"):
        check_origin(inputs)
