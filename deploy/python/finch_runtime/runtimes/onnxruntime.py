"""ONNX Runtime, CPU execution provider; model files are ``.onnx``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from finch_runtime.errors import RuntimeProblem
from finch_runtime.names import decode_name
from finch_runtime.onnx_header import read_versions
from finch_runtime.runtimes import Array, LoadedModel, ModelInput, Needs

# A tensor in another file has an entry with this key: field 1 of onnx.StringStringEntryProto.
_EXTERNAL_DATA = b"\x0a\x08location"

# The newest operator set and the newest IR version that a release opens. 1.14 opens operator set 18
# as well, but computes int8 with signed activations differently.
_RELEASES = (
    ("1.15", 19, 9),
    ("1.17", 20, 9),
    ("1.18", 21, 10),
    ("1.21", 22, 10),
    ("1.23", 23, 11),
    ("1.24", 25, 13),
    ("1.25", 26, 13),
)


def load(package: Any, path: Path, threads: int) -> LoadedModel:
    """Loads a model with ``threads`` threads for one inference."""
    if _has_external_data(path):
        problem = "keeps weights in another file, which has no hash"
        raise RuntimeProblem(path, problem, "export it into one file")
    package.disable_telemetry_events()  # the environment variable has no effect on Windows
    options = package.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = package.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 4  # fatal only; errors are raised as exceptions
    spinning = "1" if threads > 1 else "0"
    options.add_session_config_entry("session.intra_op.allow_spinning", spinning)
    started = time.perf_counter()
    session = package.InferenceSession(
        decode_name(path), sess_options=options, providers=["CPUExecutionProvider"]
    )
    load_s = time.perf_counter() - started

    def infer(images: Array) -> tuple[Array, Array]:
        logits, probabilities = session.run(["logits", "probabilities"], {"images": images})
        return logits, probabilities

    return LoadedModel(
        inputs=[
            ModelInput(i.name, i.type == "tensor(uint8)", i.shape) for i in session.get_inputs()
        ],
        outputs=[output.name for output in session.get_outputs()],
        settings={
            "intra_op_num_threads": str(threads),
            "inter_op_num_threads": "1",
            "execution_mode": "sequential",
            "allow_spinning": spinning,
        },
        load_s=load_s,
        infer=infer,
    )


def find_needs(path: Path) -> Needs | None:
    """The oldest release that opens a file; None if the file is not ONNX."""
    found = read_versions(path)
    if found is None:
        return None
    able = (name for name, opset, ir in _RELEASES if found.opset <= opset and found.ir <= ir)
    return Needs(next(able, ""), f"it has ONNX opset {found.opset} and IR version {found.ir}")


def _has_external_data(path: Path) -> bool:
    tail = b""
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            if _EXTERNAL_DATA in tail + chunk:
                return True
            tail = chunk[-len(_EXTERNAL_DATA) :]
    return False
