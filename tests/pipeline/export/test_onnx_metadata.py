from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
import torch

from pipeline.errors import ArtifactError
from pipeline.export.onnx_export import export_onnx
from pipeline.export.onnx_metadata import MadeFrom, describe, read_made_from
from pipeline.models.classifier import Spec

SPEC = Spec("tiny", ("süß & <b>", "line\nbreak"), 8, (0.5,) * 3, (0.5,) * 3)
MADE_FROM = MadeFrom(model="57" * 32, data="da" * 32)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, 2))
    path = tmp_path_factory.mktemp("onnx") / "student.onnx"
    metadata = describe(SPEC, "crop", MADE_FROM)
    export_onnx(model, SPEC, path, batch="dynamic", opset=18, metadata=metadata)
    return path


def values(path: Path) -> dict[str, str]:
    return {entry.key: entry.value for entry in onnx.load(path).metadata_props}


def test_the_file_alone_says_what_it_is(path: Path) -> None:
    found = {key: json.loads(value) for key, value in values(path).items()}
    assert found["finch.labels"] == list(SPEC.classes)
    assert found["finch.made_from"] == {"model": MADE_FROM.model, "data": MADE_FROM.data}
    (images,) = onnx.load(path).graph.input
    described = found["finch.input"]
    shape = [dimension.dim_value for dimension in images.type.tensor_type.shape.dim]
    assert (described["name"], described["dtype"]) == (images.name, "uint8")
    assert [described["height"], described["width"]] == shape[1:3]
    assert (described["fit"], described["color"], described["layout"]) == ("crop", "RGB", "NHWC")


def test_conversions_keep_it(path: Path, tmp_path: Path) -> None:
    import openvino
    from onnxruntime.quantization import quantize_dynamic

    quantize_dynamic(path, tmp_path / "int8.onnx")
    assert read_made_from(tmp_path / "int8.onnx") == MADE_FROM
    openvino.save_model(openvino.Core().read_model(path), tmp_path / "model.xml")
    assert MADE_FROM.model in (tmp_path / "model.xml").read_text()


def test_what_it_was_made_from_is_compared(path: Path) -> None:
    assert read_made_from(path, data=MADE_FROM.data) == MADE_FROM
    with pytest.raises(ArtifactError, match="data/prepared dadadadadada, which is now 0000"):
        read_made_from(path, data="00" * 32)


@pytest.mark.parametrize("keep", [0, 100, -1])
def test_a_truncated_file_is_refused(path: Path, tmp_path: Path, keep: int) -> None:
    cut = tmp_path / "student.onnx"
    cut.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ArtifactError, match=r"student\.onnx: .*(truncated|no valid metadata)"):
        read_made_from(cut)


@pytest.mark.parametrize(
    "text", ["", "[", "null", "[" * 100_000, "{}", '{"model": 1, "data": "d"}']
)
def test_impossible_metadata_is_refused(path: Path, tmp_path: Path, text: str) -> None:
    model = onnx.load(path)
    for entry in model.metadata_props:
        if entry.key == "finch.made_from":
            entry.value = text
    onnx.save(model, tmp_path / "student.onnx")
    with pytest.raises(ArtifactError, match=r"student\.onnx: has (no valid metadata|an invalid)"):
        read_made_from(tmp_path / "student.onnx")
