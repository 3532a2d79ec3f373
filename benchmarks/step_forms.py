"""Speed of a training step on the CPU: memory format, precision and torch.compile.

    python benchmarks/step_forms.py [MODEL] [--image-size 96] [--batch-size 32] [--rounds 7]
        [--threads 1] [--no-compile]

A step is forward pass, cross-entropy, backward pass and SGD on a fixed batch of random images. The
forms take turns; the output is the median of each, relative to fp32 in the memory format in which
Finch trains. `torch.compile` needs a C++ compiler.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable

import torch
from torch.nn.functional import cross_entropy

from pipeline.models.classifier import build_classifier
from pipeline.params import Recipe
from pipeline.training.allocator import keep_freed_memory
from pipeline.training.optimizer import build_optimizer

CLASSES, STEPS = 100, 3
RECIPE = Recipe(epochs=1, batch_size=1, lr=0.01, weight_decay=1e-4)

Form = tuple[torch.memory_format, torch.dtype, bool]
"""Memory format, precision of the forward pass, and whether the network is compiled."""

FORMS: tuple[Form, ...] = tuple(
    itertools.product(
        (torch.channels_last, torch.contiguous_format),
        (torch.float32, torch.bfloat16),
        (False, True),
    )
)


def make_step(name: str, pixels: torch.Tensor, form: Form) -> Callable[[], None]:
    """A training step of a new network."""
    layout, precision, compiled = form
    torch.manual_seed(0)
    model = build_classifier(name, tuple(map(str, range(CLASSES))), pixels.shape[-1])
    model.to(memory_format=layout).train()  # type: ignore[call-overload]
    images = pixels.contiguous(memory_format=layout)
    labels = torch.randint(0, CLASSES, (len(images),))
    optimizer = build_optimizer(model, RECIPE)
    network = torch.compile(model) if compiled else model

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
            logits = network(images)
        optimizer.zero_grad(set_to_none=True)
        cross_entropy(logits.float(), labels).backward()
        optimizer.step()

    return step


def seconds(step: Callable[[], None], count: int) -> float:
    """Mean time of a step."""
    start = time.perf_counter()
    for _ in range(count):
        step()
    return (time.perf_counter() - start) / count


def main() -> None:
    """Prints images per second of every form."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", nargs="?", default="mobilenetv2_035")
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--no-compile", action="store_true", help="without compiled forms")
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    keep_freed_memory()
    pixels = torch.rand(options.batch_size, 3, options.image_size, options.image_size)
    forms = [form for form in FORMS if not (options.no_compile and form[2])]
    steps = {form: make_step(options.model, pixels, form) for form in forms}
    first = {form: seconds(step, 1) for form, step in steps.items()}
    times: dict[Form, list[float]] = {form: [] for form in forms}
    for _ in range(options.rounds):
        for form, step in steps.items():
            times[form].append(seconds(step, STEPS))
    medians = {form: statistics.median(found) for form, found in times.items()}
    for form, median in medians.items():
        layout, precision, compiled = form
        words = [str(layout).removeprefix("torch."), str(precision).removeprefix("torch.")]
        words += ["compiled"] if compiled else []
        print(
            f"{', '.join(words)}: {options.batch_size / median:.1f} images/s, "
            f"{medians[FORMS[0]] / median:.2f} of the first; first step {first[form]:.1f} s"
        )


if __name__ == "__main__":
    main()
