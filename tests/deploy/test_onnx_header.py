from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import onnx
import pytest
from finch_runtime.onnx_header import OnnxVersions, read_versions
from onnx import helper

if TYPE_CHECKING:
    from conftest import TinyModel


def write(path: Path, ir: int, *opsets: tuple[str, int]) -> Path:
    imports = [helper.make_opsetid(domain, version) for domain, version in opsets]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "graph", [], [])
    file = helper.make_model(graph, opset_imports=imports, ir_version=ir, producer_name="x" * 300)
    onnx.save(file, path)
    return path


def test_the_versions_are_those_that_onnx_reads(tiny: TinyModel) -> None:
    assert read_versions(tiny.path("onnxruntime", "dynamic")) == OnnxVersions(8, 17)


@pytest.mark.parametrize(
    ("opsets", "standard"),
    [
        ([("", 18), ("com.microsoft", 1)], 18),
        ([("ai.onnx.ml", 5), ("", 300)], 300),
        ([("ai.onnx", 21)], 21),
        ([("com.microsoft", 1)], 0),
    ],
)
def test_the_opset_is_that_of_the_standard_operators(
    tmp_path: Path, opsets: list[tuple[str, int]], standard: int
) -> None:
    assert read_versions(write(tmp_path / "model.onnx", 10, *opsets)) == OnnxVersions(10, standard)


@pytest.mark.parametrize(
    "content", [b"", b"\xff" * 100, b"\x08", b"not a model", b"\x3a\xff\xff\xff\xff\x0f", b"\x0f"]
)
def test_other_files_have_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    assert read_versions(path) is None


def test_truncated_files_have_none_or_the_same_versions(tmp_path: Path) -> None:
    path = write(tmp_path / "model.onnx", 10, ("", 18))
    content = path.read_bytes()
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        found = read_versions(path)
        assert found is None or found.ir == 10


def test_a_missing_file_has_none(tmp_path: Path) -> None:
    assert read_versions(tmp_path / "model.onnx") is None
