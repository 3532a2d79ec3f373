"""What a trace of torch.profiler says about steps: synchronisations, and time on the GPU."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

STEP = "finch_step"
"""Name of the mark (``torch.profiler.record_function``) before the first and after every step."""

# Functions of the CUDA runtime and driver in which the CPU waits for the GPU.
_WAITS = (
    "cudaDeviceSynchronize",
    "cudaStreamSynchronize",
    "cudaEventSynchronize",
    "cudaMemcpy",
    "cuCtxSynchronize",
    "cuStreamSynchronize",
    "cuEventSynchronize",
)
# ``Tensor.item`` and ``bool(tensor)``, on any device.
_READ = "aten::_local_scalar_dense"


@dataclass(frozen=True)
class StepTrace:
    """Some training steps in a trace.

    Attributes:
        waits: Names of the calls in each step in which the CPU waited for the GPU.
        reads: Number of scalars that the CPU read back from a tensor in each step, on any device.
        copies: Number of copies from the GPU to the CPU in all steps.
        kernel_seconds: Time in which a kernel ran on the GPU; overlapping kernels count once.
    """

    waits: list[list[str]]
    reads: list[int]
    copies: int
    kernel_seconds: float

    @property
    def steps(self) -> int:
        """Number of steps."""
        return len(self.waits)

    @property
    def waiting_steps(self) -> int:
        """Number of steps in which the CPU waited for the GPU."""
        return sum(map(bool, self.waits))


def read_trace(path: Path) -> StepTrace:
    """Reads the file of ``torch.profiler.profile.export_chrome_trace``.

    Raises:
        ValueError: It has fewer than two marks.
    """
    events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    complete = [event for event in events if event.get("ph") == "X"]
    marks = sorted(
        event["ts"]
        for event in complete
        if event["name"] == STEP and event.get("cat") == "user_annotation"
    )
    if len(marks) < 2:
        raise ValueError(f"{path} has {len(marks)} marks named {STEP}; it needs 2 or more")
    waits: list[list[str]] = [[] for _ in marks[1:]]
    reads = [0 for _ in marks[1:]]
    for event in complete:
        step = bisect_right(marks, event["ts"]) - 1
        if not 0 <= step < len(waits):
            continue
        if _is_wait(event):
            waits[step].append(event["name"])
        elif event["name"] == _READ:
            reads[step] += 1
    on_gpu = [event for event in complete if event["ts"] >= marks[0]]
    copies = [e for e in on_gpu if e.get("cat") == "gpu_memcpy" and "DtoH" in e["name"]]
    kernels = [(e["ts"], e["ts"] + e["dur"]) for e in on_gpu if e.get("cat") == "kernel"]
    return StepTrace(waits, reads, len(copies), 1e-6 * covered(kernels))


def covered(intervals: Iterable[tuple[float, float]]) -> float:
    """Length of the union of intervals."""
    total, reached = 0.0, float("-inf")
    for begin, end in sorted(intervals):
        total += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return total


def _is_wait(event: dict[str, Any]) -> bool:
    return event.get("cat") in ("cuda_runtime", "cuda_driver") and event["name"] in _WAITS
