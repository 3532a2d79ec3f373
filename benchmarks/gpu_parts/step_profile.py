"""Mixed precision and compilation; what a step of the training loop does on the GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from pairs import Pair

from pipeline.training.task import TrainingTask

from .finding import Finding, at_least, at_most, guarded
from .marks import StepMarks
from .settings import Settings
from .throughput import PAIRS, TINY_PAIRS
from .timing import Stopwatch, run_training, time_steps, time_training
from .trace import StepTrace, read_trace

Compilation = bool | Literal["reduce-overhead"]

COMPILATIONS: dict[Compilation, str] = {
    False: "",
    True: ", compiled",
    "reduce-overhead": ", compiled with CUDA graphs",
}


def find(settings: Settings) -> Iterator[Finding]:
    """What is quick first: compilation takes minutes."""
    pairs = TINY_PAIRS if settings.tiny else PAIRS[:2]
    for compilation, words in COMPILATIONS.items():
        for pair in pairs:
            for precision in ("auto",) if settings.tiny else ("fp32", "auto"):
                name = f"{pair.name}, {precision}{words}"
                find_one = _Variant(pair, name, precision, compilation, settings).find
                yield from guarded(name, find_one)


@dataclass(frozen=True)
class _Variant:
    """One way to run the steps of a pair."""

    pair: Pair
    name: str
    precision: str
    compilation: Compilation
    settings: Settings

    def find(self) -> Iterator[Finding]:
        """Throughput and memory; without compilation also the trace and the cost of the loss."""
        pair, device, tiny = self.pair, self.settings.device, self.settings.tiny
        recipe = pair.recipe(precision=self.precision, compile=self.compilation)
        task = pair.task(recipe, pair.figkd(), pair.cached())
        student = pair.network(pair.student, device)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        watch = Stopwatch(device, 0.0 if tiny else 1.0, 1 if tiny else 5)
        seconds = time_training(student, task, watch)
        yield at_least(f"{self.name}: cached FiGKD", [pair.batch / seconds], "images/s", None)
        if device.type == "cuda":
            peak = torch.cuda.max_memory_allocated(device) / 2**20
            yield Finding(f"{self.name}: peak memory", peak, "MiB")
        if self.compilation:
            return
        folder = self.settings.folder / "traces"
        folder.mkdir(exist_ok=True)
        path = folder / f"{pair.student}-{self.precision}.json"
        marks = StepMarks(device, path, 2 if tiny else 5, 2 if tiny else 20)
        run_training(student, task, device, marks)
        yield from self._read(read_trace(path), seconds)
        loss = time_steps(self._loss_step(task), Stopwatch(device, 0.0 if tiny else 0.2))
        yield Finding(f"{self.name}: loss alone, of a step", 100 * loss / seconds, "%")

    def _read(self, trace: StepTrace, seconds: float) -> Iterator[Finding]:
        if self.settings.device_type == "cuda":
            name = f"{self.name}: steps of {trace.steps} in which the CPU waits for the GPU"
            yield at_most(name, trace.waiting_steps, "", 0)
            calls = sorted({call for step in trace.waits for call in step})
            yield Finding(f"{self.name}: calls that wait", ", ".join(calls) or "none")
            yield Finding(f"{self.name}: copies to the CPU in {trace.steps} steps", trace.copies)
            share = 100 * trace.kernel_seconds / trace.steps / seconds
            yield Finding(f"{self.name}: time in which the GPU computes", share, "%")
        yield Finding(f"{self.name}: scalars read back in {trace.steps} steps", sum(trace.reads))

    def _loss_step(self, task: TrainingTask) -> Callable[[], None]:
        """Forward and backward pass of the loss alone."""
        pair, device = self.pair, self.settings.device
        logits = torch.randn(pair.batch, pair.classes, device=device, requires_grad=True)
        teacher = torch.randn(pair.batch, pair.classes, device=device)
        labels = torch.from_numpy(pair.split.labels[: pair.batch]).to(device)

        def step() -> None:
            task.loss(logits, teacher, labels).backward()
            logits.grad = None

        return step
