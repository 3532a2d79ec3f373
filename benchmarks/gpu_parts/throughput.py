"""Images per second of a training step: cached FiGKD beside three other loops."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from pairs import Pair
from torch.nn.functional import cross_entropy

from pipeline.training.optimizer import build_optimizer
from pipeline.training.precision import resolve_precision

from .finding import Finding, at_least, guarded
from .research_loop import ResearchLoop
from .settings import Settings
from .timing import Stopwatch, time_steps, time_training

_CIFAR = ("cifar_resnet32x4", "cifar_resnet8x4", 32, 100)
PAIRS = (
    Pair(*_CIFAR, batch=512, steps=100),
    Pair("tf_efficientnet_lite0", "mobilenetv2_035", 96, 100, batch=256, steps=50),
    Pair(*_CIFAR, batch=64, steps=400),
    Pair("resnet50", "mobilenetv3_large_100", 224, 1000, batch=256, steps=20),
)
TINY_PAIRS = (Pair("cifar_resnet14", "cifar_resnet8", 32, 10, batch=8, steps=12),)

# Fraction of the bare loop and multiple of the research loop that the cached teacher must reach.
OF_BARE = {("cifar_resnet8x4", 512): 0.9, ("mobilenetv2_035", 256): 0.9}
OF_RESEARCH = {"cifar_resnet8x4": 5.0}


def find(settings: Settings) -> Iterator[Finding]:
    """Images per second and ratios for each pair."""
    for pair in TINY_PAIRS if settings.tiny else PAIRS:
        yield from guarded(pair.name, partial(_compare, pair, settings))


def _compare(pair: Pair, settings: Settings) -> Iterator[Finding]:
    device, rounds = settings.device, 1 if settings.tiny else 3
    recipe, student = pair.recipe(), pair.network(pair.student, device)
    cached = pair.task(recipe, pair.figkd(), pair.cached())
    teacher = pair.live(device, resolve_precision("auto", device))
    live = pair.task(recipe, pair.figkd(), teacher)

    def measure_bare(watch: Stopwatch) -> float:
        precision = resolve_precision("auto", device, student)
        return time_steps(bare_step(pair, device, precision), watch)

    def measure_research(watch: Stopwatch) -> float:
        with ResearchLoop(pair, device) as loop:
            return time_steps(loop.step, watch)

    measures: dict[str, Callable[[Stopwatch], float]] = {
        "cached FiGKD": lambda watch: time_training(student, cached, watch),
        "bare loop": measure_bare,
        "live teacher": lambda watch: time_training(student, live, watch),
        "research loop": measure_research,
    }
    seconds: dict[str, list[float]] = {name: [] for name in measures}
    for number in range(rounds):
        # In turn, and in another order each time, so that drift does not favor one.
        names = list(measures)
        for name in names[number:] + names[:number]:
            watch = Stopwatch(device, 0.0 if settings.tiny else 0.7, 1 if settings.tiny else 3)
            seconds[name].append(measures[name](watch))
    for name, values in seconds.items():
        speeds = [pair.batch / value for value in values]
        yield at_least(f"{pair.name}: {name}", speeds, "images/s", None)
    targets = {
        "bare loop": OF_BARE.get((pair.student, pair.batch)),
        "live teacher": None,
        "research loop": OF_RESEARCH.get(pair.student),
    }
    for other, target in targets.items():
        ratios = [a / b for a, b in zip(seconds[other], seconds["cached FiGKD"], strict=True)]
        name = f"{pair.name}: cached FiGKD relative to the {other}"
        yield at_least(name, ratios, "times", target if settings.on_gpu else None)


def bare_step(pair: Pair, device: torch.device, precision: torch.dtype) -> Callable[[], None]:
    """A step of the student with cross-entropy, on one batch that stays on the device."""
    model = pair.network(pair.student, device).train()
    optimizer = build_optimizer(model, pair.recipe())
    pixels = torch.rand(pair.batch, 3, pair.size, pair.size, device=device)
    pixels = pixels.contiguous(memory_format=torch.channels_last)
    labels = torch.from_numpy(pair.split.labels[: pair.batch]).to(device)
    mixed = precision != torch.float32

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, precision, enabled=mixed):
            logits = model(pixels)
        cross_entropy(logits.float(), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step
