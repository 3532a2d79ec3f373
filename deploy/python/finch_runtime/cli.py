"""The commands ``classify``, ``bench`` and ``compare``, and ``measure`` for programs."""

from __future__ import annotations

import argparse
import io
import json
import math
import os
import sys
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from finch_runtime import benchmark as benchmarking
from finch_runtime import compare as comparing
from finch_runtime import protocol
from finch_runtime.arrays import read_images, write_logits
from finch_runtime.bundle import Bundle, open_bundle, open_source
from finch_runtime.errors import RuntimeProblem, last_line
from finch_runtime.prediction import predict, top_labels
from finch_runtime.protocol import BenchmarkPlan, ComparePlan, ModelSource, from_json, to_json
from finch_runtime.runtimes import RUNTIMES
from finch_runtime.session import open_session
from finch_runtime.usage import peak_bytes

HERE = Path(__file__).resolve().parent.parent


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Returns:
        Exit code: 0, or 2 after an error, which is one line on stderr.
    """
    warnings.simplefilter("ignore")  # decoders warn about harmless oddities
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # for file names that are not text
    try:
        options = _parser().parse_args(arguments)
        code: int = options.command(options)
        sys.stdout.flush()
    except RuntimeProblem as problem:
        _print_problem(problem)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of the output has closed it; without this Python would fail at exit again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code


def _classify(options: argparse.Namespace) -> int:
    # Imported here: packed images do not need Pillow.
    from finch_runtime.images import load_image

    bundle = open_bundle(options.bundle)
    session = open_session(bundle.model, bundle.runtime, options.threads or bundle.threads)
    name_width = max(len(name) for name in options.images)
    label_width = max(len(label) for label in bundle.labels)
    results: list[dict[str, Any]] = []
    code = 0
    for name in options.images:
        try:
            image = load_image(name, bundle.size, bundle.fit)
        except RuntimeProblem as problem:
            _print_problem(problem)
            code = 2
            continue
        _, probabilities = session.run(image[np.newaxis])
        top = top_labels(probabilities[0], bundle.labels, options.top)
        if options.json:
            results.append({"image": name, "top": [asdict(each) for each in top]})
            continue
        for row, each in enumerate(top):
            first = name if row == 0 else ""
            print(f"{first:{name_width}}  {each.label:{label_width}}  {each.probability:6.1%}")
    if options.json:
        print(json.dumps(results, indent=2))
    return code


def _bench(options: argparse.Namespace) -> int:
    plan = BenchmarkPlan(
        runs=options.runs,
        warmup=options.warmup,
        warmup_s=options.warmup_seconds,
        batches=list(options.batches) if options.throughput_seconds else [],
        batch_s=options.throughput_seconds,
        sustained_s=options.sustained,
    )
    if (options.model is None) != (options.runtime is None):
        raise RuntimeProblem("bench", "--model and --runtime belong together", "pass both or none")
    source = ModelSource(str(options.model or options.bundle), options.runtime)
    baseline_bytes = peak_bytes()  # before the runtime is imported
    session, bundle = open_source(source, options.threads)
    images = _bench_images(options, bundle)
    result = benchmarking.benchmark(session, images, plan, baseline_bytes)
    if options.json:
        print(to_json(result))
    else:
        print("\n".join(benchmarking.format_lines(session.model.name, result, len(images))))
    return 0


def _bench_images(options: argparse.Namespace, bundle: Bundle | None) -> np.ndarray[Any, Any]:
    if bool(options.photos) == (options.images is not None):
        raise RuntimeProblem(
            "bench", "needs either image files or --images", "pass real images, in one form"
        )
    if options.images is not None:
        return read_images(options.images)
    if bundle is None:
        raise RuntimeProblem(
            "bench", "image files need a bundle, which has their size", "pass --images"
        )
    from finch_runtime.images import load_image

    return np.stack([load_image(name, bundle.size, bundle.fit) for name in options.photos])


def _compare(options: argparse.Namespace) -> int:
    plan = ComparePlan(
        options.turns, options.runs, options.warmup, options.warmup_seconds, options.seed
    )
    request = protocol.CompareRequest(
        options.models, str(options.images), options.threads or 1, plan
    )
    result = comparing.compare(request)
    if options.json:
        print(to_json(result))
    else:
        print("\n".join(comparing.format_lines(request.models, result)))
    return 0


def _measure(options: argparse.Namespace) -> int:
    try:
        with options.request.open(encoding="utf-8") if options.request else sys.stdin as file:
            text = file.read()
    except (OSError, ValueError) as error:
        raise RuntimeProblem(
            options.request or "request", f"cannot be read: {last_line(error)}", "check the path"
        ) from None
    request: protocol.Request = from_json(text, *protocol.REQUESTS)
    print(to_json(_execute(request)))
    return 0


def _execute(request: protocol.Request) -> protocol.Result:
    if isinstance(request, protocol.CompareRequest):
        return comparing.compare(request)
    baseline_bytes = peak_bytes()  # before the runtime is imported
    session, _ = open_source(request.model, request.threads)
    images = read_images(Path(request.images))
    if isinstance(request, protocol.BenchmarkRequest):
        return benchmarking.benchmark(session, images, request.plan, baseline_bytes)
    logits = predict(session, images)
    write_logits(Path(request.out), logits)
    return protocol.PredictResult(*logits.shape)


def _print_problem(problem: RuntimeProblem) -> None:
    print(f"finch_runtime: {problem}", file=sys.stderr)


class _Parser(argparse.ArgumentParser):
    """Reports command-line errors like all other errors."""

    def error(self, message: str) -> NoReturn:
        raise RuntimeProblem("command line", message, f"see {self.prog} --help")


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not 1 or more")
    return value


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not 0 or more")
    return value


def _model(text: str) -> ModelSource:
    runtime, equals, path = text.partition("=")
    if not equals or not path or runtime not in RUNTIMES:
        raise argparse.ArgumentTypeError(f"{text!r} is not {' or '.join(RUNTIMES)}=FILE")
    return ModelSource(path, runtime)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="finch_runtime",
        description="Run an image classifier exported by Finch on this device.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("classify", help="print the top-k labels of images")
    command.add_argument("images", nargs="+", metavar="IMAGE", help="image file")
    command.add_argument("--top", type=_count, default=3, metavar="K", help="labels per image (3)")
    _add_common(command, _classify, bundle=True)

    command = commands.add_parser("bench", help="measure latency, memory, throughput and energy")
    command.add_argument("photos", nargs="*", metavar="IMAGE", help="image file")
    command.add_argument("--images", type=Path, metavar="NPY", help="uint8 [n, size, size, 3]")
    command.add_argument("--model", type=Path, help="model file, instead of a bundle")
    command.add_argument("--runtime", choices=RUNTIMES, help="runtime of --model")
    _add_plan(command, BenchmarkPlan())
    _add_common(command, _bench, bundle=True)

    command = commands.add_parser("compare", help="time several models in alternation")
    command.add_argument(
        "models",
        nargs="+",
        type=_model,
        metavar="RUNTIME=FILE",
        help=f"{' or '.join(RUNTIMES)}, and the model file; the first is the reference",
    )
    command.add_argument(
        "--images", type=Path, required=True, metavar="NPY", help="uint8 [n, size, size, 3]"
    )
    _add_plan(command, ComparePlan())
    _add_common(command, _compare, bundle=False)

    command = commands.add_parser("measure", help="execute a JSON request and print its result")
    command.add_argument(
        "request", nargs="?", type=Path, metavar="REQUEST", help="request file (standard input)"
    )
    command.set_defaults(command=_measure)
    return parser


def _add_plan(command: argparse.ArgumentParser, plan: BenchmarkPlan | ComparePlan) -> None:
    """Adds the options of a plan, with its defaults."""

    def add(option: str, kind: Any, default: Any, text: str) -> None:
        shown = " ".join(map(str, default)) if isinstance(default, list) else default
        more: dict[str, Any] = {"nargs": "+"} if isinstance(default, list) else {}
        help_text = f"{text} ({shown})"
        command.add_argument(
            option, type=kind, default=default, metavar="N", help=help_text, **more
        )

    add("--warmup", int, plan.warmup, "minimum number of warm-up inferences")
    add("--warmup-seconds", _seconds, plan.warmup_s, "minimum duration of the warm-up")
    if isinstance(plan, BenchmarkPlan):
        add("--runs", _count, plan.runs, "timed inferences")
        add("--batches", _count, plan.batches, "batch sizes for throughput")
        add("--throughput-seconds", _seconds, plan.batch_s, "duration per batch size, 0: none")
        add("--sustained", _seconds, plan.sustained_s, "duration of a run without pauses")
    else:
        add("--turns", _count, plan.turns, "turns of every model")
        add("--runs", _count, plan.runs, "timed inferences per turn")
        add("--seed", int, plan.seed, "seed of the order of the models")


def _add_common(command: argparse.ArgumentParser, function: Any, *, bundle: bool) -> None:
    if bundle:
        command.add_argument(
            "--bundle",
            type=Path,
            default=HERE,
            metavar="DIR",
            help="unpacked bundle (the folder that contains finch_runtime)",
        )
    default = "the bundle's, or 1" if bundle else "1"
    command.add_argument(
        "--threads", type=_count, metavar="N", help=f"threads of one inference ({default})"
    )
    command.add_argument("--json", action="store_true", help="print all results as JSON")
    command.set_defaults(command=function)
