"""OpenVINO, CPU plugin; model files are ``.xml`` with a ``.bin`` beside them."""

from __future__ import annotations

import re
import threading
import time
from pathlib import Path
from typing import Any

from finch_runtime.errors import RuntimeProblem
from finch_runtime.names import decode_name
from finch_runtime.regular import why_unreadable
from finch_runtime.runtimes import Array, LoadedModel, ModelInput, Needs

# The newest operator set whose files a release loads with the same results.
_RELEASES = (("2023.1", 12), ("2023.3", 13))
_OPSET = re.compile(rb'version="opset(\d{1,4})"')
_MADE_BY = re.compile(rb'<Runtime_version value="(\d+\.\d+)')


def load(package: Any, path: Path, threads: int) -> LoadedModel:
    """Loads a model with ``threads`` threads for one inference."""
    with path.open("rb") as file:
        if b"<net" not in file.read(1024):  # OpenVINO would try other formats and print errors
            raise RuntimeProblem(path, "is not an OpenVINO model", "pass the model's .xml")
    unreadable = why_unreadable(path.with_suffix(".bin"))
    if unreadable is not None:
        raise RuntimeProblem(path, f"its .bin file: {unreadable}", "export or unpack it again")
    config = {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        # On CPUs with bfloat16 the default is bfloat16, with errors of about 0.5 %.
        "INFERENCE_PRECISION_HINT": "f32",
    }
    started = time.perf_counter()
    compiled = _compile(package.Core(), path, config)
    requests = _Requests(compiled)
    load_s = time.perf_counter() - started

    outputs = {name: output for output in compiled.outputs for name in output.names}

    def infer(images: Array) -> tuple[Array, Array]:
        # Without shared inputs OpenVINO copies the images.
        results = requests.own.infer({"images": images}, share_inputs=True)
        return results[outputs["logits"]], results[outputs["probabilities"]]

    # The effective values: the plugin may override the hints, on Arm and recent Xeons for example.
    recorded = (*config, "ENABLE_CPU_PINNING")
    return LoadedModel(
        inputs=[
            ModelInput(
                i.any_name,
                i.element_type == package.Type.u8,
                [d.get_length() if d.is_static else None for d in i.partial_shape],
            )
            for i in compiled.inputs
        ],
        outputs=list(outputs),
        settings={key: _as_text(compiled.get_property(key)) for key in recorded},
        load_s=load_s,
        infer=infer,
    )


def _compile(core: Any, path: Path, config: dict[str, Any]) -> Any:
    text = decode_name(path)
    try:
        return core.compile_model(text, "CPU", config)
    except Exception:
        if text == str(path):
            raise
        # Releases from 2026 on encode names in the locale's encoding themselves.
        return core.compile_model(str(path), "CPU", config)


def find_needs(path: Path) -> Needs | None:
    """The oldest release that loads a file; None if the file does not tell."""
    content = path.read_bytes()
    opset = max((int(found) for found in _OPSET.findall(content)), default=0)
    if not opset:
        return None
    found = _MADE_BY.search(content)
    made_by = found.group(1).decode("ascii") if found else ""
    able = (name for name, newest in _RELEASES if opset <= newest)
    maker = f", and was made by openvino {made_by}" if made_by else ""
    return Needs(next(able, made_by), f"it has operators of opset{opset}{maker}")


class _Requests(threading.local):
    """An infer request per thread: its inputs and outputs belong to one inference at a time.

    A request that several threads share returns the results of another thread's images.
    """

    def __init__(self, compiled: Any) -> None:  # called in every thread that uses the object
        self.own = compiled.create_infer_request()


def _as_text(value: Any) -> str:
    return str(value.to_string() if hasattr(value, "to_string") else value)
