"""Model files that are newer than the installed runtime."""

from __future__ import annotations

import sys
import types
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx
import pytest
from finch_runtime import runtimes
from finch_runtime.errors import RuntimeProblem
from finch_runtime.runtimes import find_needs, load_model

if TYPE_CHECKING:
    from conftest import TinyModel


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Replaces an inference runtime by a release that can load nothing."""

    def replace(name: str, version: str) -> None:
        def fail(*arguments: Any, **options: Any) -> None:
            raise RuntimeError("first line\nno kernel")

        fake = types.SimpleNamespace(
            Core=fail, InferenceSession=fail, SessionOptions=types.SimpleNamespace,
            disable_telemetry_events=lambda: None, ExecutionMode=types.SimpleNamespace,
            __version__=version,
        )  # fmt: skip
        fake.SessionOptions = lambda: types.SimpleNamespace(add_session_config_entry=lambda *a: 0)
        fake.ExecutionMode = types.SimpleNamespace(ORT_SEQUENTIAL=0)
        monkeypatch.setattr(runtimes, "_import_package", lambda package: fake)
        monkeypatch.setattr(metadata, "version", lambda package: version)

    return replace


def newer(path: Path, opset: int, ir: int) -> Path:
    file = onnx.load(path)
    file.ir_version, file.opset_import[0].version = ir, opset
    target = path.with_name(f"opset{opset}.onnx")
    onnx.save(file, target)
    return target


@pytest.mark.parametrize(
    ("opset", "ir", "installed", "needed"),
    [
        (18, 8, "1.14.1", "'onnxruntime>=1.15'"),
        (18, 10, "1.17.3", "'onnxruntime>=1.18'"),
        (20, 9, "1.16.3", "'onnxruntime>=1.17'"),
        (22, 10, "1.20.1", "'onnxruntime>=1.21'"),
        (23, 11, "1.9.0", "'onnxruntime>=1.23'"),
        (99, 20, "1.32.0", "--upgrade onnxruntime"),
    ],
)
def test_a_file_that_is_too_new_names_both_versions_and_the_release_to_install(
    tiny: TinyModel, install: Any, opset: int, ir: int, installed: str, needed: str
) -> None:
    path = newer(tiny.path("onnxruntime", "dynamic"), opset, ir)
    install("onnxruntime", installed)
    with pytest.raises(RuntimeProblem) as caught:
        load_model("onnxruntime", path, 1)
    problem = caught.value
    assert all(each in problem.problem for each in (f"opset {opset}", f"version {ir}", installed))
    assert problem.remedy == f"pip install {needed}"


@pytest.mark.parametrize(
    ("opset", "installed", "needed"),
    [
        (12, "2022.3.2", "'openvino>=2023.1'"),
        (13, "2023.1.0", "'openvino>=2023.3'"),
        (16, "2024.6.0", "'openvino>=2026.4'"),
        (17, "2024.6.0", "--upgrade openvino"),
    ],
)
def test_the_same_for_openvino(
    tmp_path: Path, install: Any, opset: int, installed: str, needed: str
) -> None:
    made_by = "" if opset == 17 else '<Runtime_version value="2026.4.1-22982-e213a147257" />'
    layers = f'<layer type="Parameter" version="opset1"/><layer version="opset{opset}"/>'
    path = tmp_path / "model.xml"
    path.write_text(f'<net version="11">{layers}<rt_info>{made_by}</rt_info></net>', "utf-8")
    path.with_suffix(".bin").write_bytes(b"weights")
    install("openvino", installed)
    with pytest.raises(RuntimeProblem) as caught:
        load_model("openvino", path, 1)
    problem = caught.value
    assert all(each in problem.problem for each in (f"opset{opset}", installed))
    assert ("2026.4" in problem.problem) == bool(made_by)
    assert problem.remedy == f"pip install {needed}"


@pytest.mark.parametrize(
    ("runtime", "installed"), [("onnxruntime", "1.32.0"), ("openvino", "2026.4.1-22982-e213a147")]
)
def test_other_reasons_are_not_blamed_on_the_version(
    tiny: TinyModel, install: Any, runtime: str, installed: str
) -> None:
    install(runtime, installed)
    with pytest.raises(RuntimeProblem, match="no kernel") as caught:
        load_model(runtime, tiny.path(runtime, "dynamic"), 1)
    assert "pip" not in caught.value.remedy


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_an_unknown_file_has_no_needs(tmp_path: Path, runtime: str) -> None:
    path = tmp_path / "model"
    path.write_bytes(b"<net>")
    assert find_needs(runtime, path) is None


def test_a_release_that_was_built_with_another_numpy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "onnxruntime"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise ImportError\n", "utf-8")
    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(RuntimeProblem, match="numpy") as caught:
        load_model("onnxruntime", tmp_path / "model.onnx", 1)
    assert "numpy<2" in caught.value.remedy
