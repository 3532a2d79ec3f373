"""The versions of all ONNX files of the candidates, and old runtimes that open them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import finch_runtime
import numpy as np
import onnx
import pytest
from finch_runtime.session import open_session, predict

from pipeline.params import Candidate
from pipeline.quantize.candidates import make_candidates
from pipeline.quantize.runtimes.onnxruntime import OnnxRuntime
from tests.old_pythons import find_python, make_environment

OPTIONS: dict[str, dict[str, Any]] = {
    "fp32": {"precision": "fp32"},
    "fp16": {"precision": "fp16"},
    "qdq": {},
    "s8s8": {"types": "s8s8"},
    "qoperator": {"format": "qoperator"},
    "dynamic": {"method": "dynamic"},
    "one": {"batch": 1},
}
CANDIDATES = [
    Candidate(**{"name": name, "runtime": "onnxruntime", "precision": "int8", **options})
    for name, options in OPTIONS.items()
]
RUN = """
import json, sys
import numpy as np
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from finch_runtime.errors import RuntimeProblem
from finch_runtime.session import open_session, predict
folder, found = Path(sys.argv[2]), {}
for path in sorted(folder.rglob("*.onnx")):
    try:
        logits = predict(open_session(path, "onnxruntime"), np.load(folder / "images.npy"))
        found[path.parent.name] = logits.tolist()
    except RuntimeProblem as problem:
        found[path.parent.name] = str(problem)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def made(exported: Any, calibration: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The candidates, one of them in mixed precision."""
    folder = tmp_path_factory.mktemp("made")
    make_candidates(exported, CANDIDATES, calibration, folder / "all")
    (folder / "all" / "mixed").mkdir()
    candidate = CANDIDATES[2]
    with OnnxRuntime().open_variants(candidate, exported["dynamic"], calibration) as variants:
        variants.write(folder / "all" / "mixed", [variants.layers[0].name])
    return folder / "all"


def test_every_file_declares_the_lowest_versions(made: Path) -> None:
    declared = {}
    for path in made.rglob("*.onnx"):
        file = onnx.load(path)
        opsets = {opset.domain: opset.version for opset in file.opset_import}
        declared[path.parent.name] = (file.ir_version, opsets)
    standard = (8, {"": 18})
    extended = (8, {"": 18, "com.microsoft": 1})
    assert declared == {**dict.fromkeys([*OPTIONS, "mixed"], standard), "qoperator": extended}


@pytest.mark.slow
@pytest.mark.parametrize("version", ["1.15.0", "1.17.3"])
def test_old_runtimes_return_the_same_logits(
    made: Path, images: Any, tmp_path: Path, version: str
) -> None:
    python = make_environment(
        tmp_path / "old", find_python("3.9"), f"onnxruntime=={version}", "numpy<2", "pillow"
    )
    np.save(made / "images.npy", images[:8])
    newer = made / "newer" / "model.onnx"
    newer.parent.mkdir(exist_ok=True)
    file = onnx.load(made / "fp32" / "model.onnx")
    file.ir_version, file.opset_import[0].version = 10, 21
    onnx.save(file, newer)
    runtime = Path(finch_runtime.__file__).parents[1]
    run = subprocess.run(
        [python, "-I", "-c", RUN, runtime, made], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    refused = found.pop("newer")
    assert all(each in refused for each in ("opset 21", "IR version 10", version))
    assert "pip install 'onnxruntime>=1.18'" in refused
    for name, logits in found.items():
        now = predict(open_session(made / name / "model.onnx", "onnxruntime"), images[:8])
        np.testing.assert_allclose(np.array(logits), now, atol=1e-4 * np.abs(now).max())
