"""The commands: ``classify``, ``bench``, ``compare`` and ``predict``."""

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

from finch_runtime.arrays import read_images, write_logits
from finch_runtime.benchmark import Benchmark
from finch_runtime.bundle import Bundle, open_bundle
from finch_runtime.conditions import read_conditions
from finch_runtime.errors import RuntimeProblem
from finch_runtime.memory import peak_bytes
from finch_runtime.prediction import best_guesses, predict
from finch_runtime.session import RUNTIMES, Session, open_session
from finch_runtime.side_by_side import Work, time_side_by_side
from finch_runtime.sustained import run_sustained
from finch_runtime.throughput import sweep_batches
from finch_runtime.timing import time_inference

HERE = Path(__file__).resolve().parent.parent
BATCHES = (1, 2, 4, 8, 16, 32)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit code: 0, or 2 when something could not be used as it is; every such thing has
        then had its line on stderr.
    """
    warnings.simplefilter("ignore")  # decoders warn of oddities that do not matter here
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names need not suit the terminal
    try:
        options = _parser().parse_args(arguments)
        code: int = options.command(options)
        sys.stdout.flush()
    except RuntimeProblem as problem:
        _complain(problem)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read the output has left; Python must not fail again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code


def _classify(options: argparse.Namespace) -> int:
    # Here, because packed images need no Pillow.
    from finch_runtime.images import load_image

    bundle = open_bundle(options.bundle)
    session = open_session(bundle.model, bundle.runtime, options.threads or bundle.threads)
    name_width = max(len(name) for name in options.images)
    label_width = max(len(label) for label in bundle.labels)
    answers: list[dict[str, Any]] = []
    code = 0
    for name in options.images:
        try:
            image = load_image(name, bundle.size, bundle.fit)
        except RuntimeProblem as problem:
            _complain(problem)
            code = 2
            continue
        _, probabilities = session.run(image[np.newaxis])
        guesses = best_guesses(probabilities[0], bundle.labels, options.top)
        if options.json:
            answers.append({"image": name, "top": [asdict(guess) for guess in guesses]})
            continue
        for row, guess in enumerate(guesses):
            first = name if row == 0 else ""
            print(f"{first:{name_width}}  {guess.label:{label_width}}  {guess.probability:6.1%}")
    if options.json:
        print(json.dumps(answers, indent=2))
    return code


def _bench(options: argparse.Namespace) -> int:
    bare_bytes = peak_bytes()  # before the runtime is imported
    session, bundle = _open(options)
    images = _bench_images(options, bundle)
    before = read_conditions()
    timing = time_inference(
        session, images, options.warmup, options.runs, warmup_s=options.warmup_seconds
    )
    measured = Benchmark(
        session=session,
        timing=timing,
        bare_bytes=bare_bytes,
        peak_bytes=peak_bytes(),  # before larger batches need more
        conditions=(before, read_conditions()),
        rates=(
            sweep_batches(session, images, options.batches, options.throughput_seconds)
            if options.throughput_seconds
            else []
        ),
        sustained=(
            run_sustained(session, images, options.sustained) if options.sustained else None
        ),
    )
    if options.json:
        print(json.dumps(measured.record()))
    else:
        print("\n".join(measured.lines(len(images))))
    return 0


def _compare(options: argparse.Namespace) -> int:
    work = Work(
        images=options.images,
        threads=options.threads or 1,
        turns=options.turns,
        runs=options.runs,
        warmup=options.warmup,
        warmup_s=options.warmup_seconds,
        seed=options.seed,
    )
    record = time_side_by_side(options.models, work)
    if options.json:
        print(json.dumps(record))
        return 0
    # By the median of the turns' own ratios: a turn and its neighbours meet the same machine.
    p50s = [np.median(model["turns"], axis=1) for model in record["models"]]
    for index, (path, _) in enumerate(options.models):
        ratio = float(np.median(p50s[index] / p50s[0]))
        print(f"{1e3 * float(np.median(p50s[index])):11.3f} ms {ratio:7.3f} x  {path}")
    return 0


def _bench_images(options: argparse.Namespace, bundle: Bundle | None) -> np.ndarray[Any, Any]:
    if options.images is not None:
        if options.photographs:
            raise RuntimeProblem("bench", "--images and photographs are given", "pass one of them")
        return read_images(options.images)
    if not options.photographs:
        raise RuntimeProblem(
            "bench", "there is nothing to run", "pass some real photographs, or --images"
        )
    if bundle is None:
        raise RuntimeProblem(
            "bench", "a model alone does not say how photographs are cut", "pass --images"
        )
    from finch_runtime.images import load_image

    return np.stack([load_image(name, bundle.size, bundle.fit) for name in options.photographs])


def _predict(options: argparse.Namespace) -> int:
    session, _ = _open(options)
    write_logits(options.out, predict(session, read_images(options.images)))
    return 0


def _open(options: argparse.Namespace) -> tuple[Session, Bundle | None]:
    if options.model is None:
        if options.runtime is not None:
            raise RuntimeProblem("--runtime", "goes with --model", "leave it out, or pass both")
        bundle = open_bundle(options.bundle)
        threads = options.threads or bundle.threads
        return open_session(bundle.model, bundle.runtime, threads), bundle
    if options.runtime is None:
        raise RuntimeProblem(
            "--model", "needs --runtime beside it", f"pass --runtime {' or '.join(RUNTIMES)}"
        )
    return open_session(options.model, options.runtime, options.threads or 1), None


def _complain(problem: RuntimeProblem) -> None:
    print(f"finch_runtime: {problem}", file=sys.stderr)


class _Parser(argparse.ArgumentParser):
    """Reports a wrong command line as every other problem is reported."""

    def error(self, message: str) -> NoReturn:
        raise RuntimeProblem("command line", message, f"see {self.prog} --help")


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not 1 or more")
    return value


def _model(text: str) -> tuple[Path, str]:
    runtime, equals, path = text.partition("=")
    if not equals or not path or runtime not in RUNTIMES:
        raise argparse.ArgumentTypeError(f"{text!r} is not {' or '.join(RUNTIMES)}=FILE")
    return Path(path), runtime


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not 0 or more")
    return value


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="finch_runtime", description="Run an image classifier that Finch made, on this device."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    classify = commands.add_parser("classify", help="say what is on photographs")
    classify.add_argument("images", nargs="+", metavar="IMAGE", help="an image file")
    classify.add_argument("--top", type=_count, default=3, metavar="K", help="labels an image (3)")
    classify.add_argument("--json", action="store_true", help="print JSON")
    _add_bundle(classify)
    classify.set_defaults(command=_classify)

    bench = commands.add_parser("bench", help="measure latency, memory, throughput and energy")
    bench.add_argument("photographs", nargs="*", metavar="IMAGE", help="an image file")
    bench.add_argument("--images", type=Path, metavar="NPY", help="uint8 [n, size, size, 3]")
    _add_warmup(bench)
    bench.add_argument("--runs", type=_count, default=100, metavar="K", help="timed runs (100)")
    bench.add_argument(
        "--batches",
        type=_count,
        nargs="+",
        default=BATCHES,
        metavar="B",
        help=f"sizes to find the throughput with ({' '.join(map(str, BATCHES))})",
    )
    bench.add_argument(
        "--throughput-seconds",
        type=_seconds,
        default=0.3,
        metavar="S",
        help="time for every size (0.3); 0: no throughput",
    )
    bench.add_argument(
        "--sustained",
        type=_seconds,
        default=0.0,
        metavar="S",
        help="run on for so many seconds, to see whether the device slows down (0)",
    )
    bench.add_argument("--json", action="store_true", help="print every time, as JSON")
    _add_bundle(bench)
    _add_model(bench)
    bench.set_defaults(command=_bench)

    compare = commands.add_parser("compare", help="time models side by side")
    compare.add_argument(
        "models",
        nargs="+",
        type=_model,
        metavar="RUNTIME=FILE",
        help=f"{' or '.join(RUNTIMES)}, and the model's file; the first is what others are held to",
    )
    compare.add_argument(
        "--images", type=Path, required=True, metavar="NPY", help="uint8 [n, size, size, 3]"
    )
    compare.add_argument(
        "--turns", type=_count, default=20, metavar="T", help="turns of every model (20)"
    )
    compare.add_argument(
        "--runs", type=_count, default=8, metavar="K", help="timed inferences in a turn (8)"
    )
    _add_warmup(compare)
    compare.add_argument("--seed", type=int, default=0, metavar="S", help="of their order (0)")
    compare.add_argument("--json", action="store_true", help="print every time, as JSON")
    _add_threads(compare, "threads of one inference (1)")
    compare.set_defaults(command=_compare)

    predict = commands.add_parser("predict", help="write the logits of many images")
    predict.add_argument(
        "--images", type=Path, required=True, metavar="NPY", help="uint8 [n, size, size, 3]"
    )
    predict.add_argument(
        "--out", type=Path, required=True, metavar="NPY", help="float32 [n, classes]"
    )
    _add_bundle(predict)
    _add_model(predict)
    predict.set_defaults(command=_predict)
    return parser


def _add_bundle(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--bundle",
        type=Path,
        default=HERE,
        metavar="DIR",
        help="an unpacked bundle (the folder that holds finch_runtime)",
    )
    _add_threads(command, "threads of one inference (the bundle's, or 1)")


def _add_threads(command: argparse.ArgumentParser, help: str) -> None:
    command.add_argument("--threads", type=_count, metavar="N", help=help)


def _add_warmup(command: argparse.ArgumentParser) -> None:
    command.add_argument("--warmup", type=int, default=10, metavar="W", help="untimed runs (10)")
    command.add_argument(
        "--warmup-seconds",
        type=_seconds,
        default=0.2,
        metavar="S",
        help="their shortest time (0.2)",
    )


def _add_model(command: argparse.ArgumentParser) -> None:
    command.add_argument("--model", type=Path, help="a model file, instead of a bundle")
    command.add_argument("--runtime", choices=RUNTIMES, help="the runtime for --model")
