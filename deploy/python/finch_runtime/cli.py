"""The commands: ``classify``, ``bench`` and ``predict``."""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from finch_runtime.arrays import read_images, write_logits
from finch_runtime.bundle import Bundle, open_bundle
from finch_runtime.errors import RuntimeProblem
from finch_runtime.prediction import best_guesses, predict
from finch_runtime.session import RUNTIMES, Session, open_session
from finch_runtime.timing import Timing, time_inference

HERE = Path(__file__).resolve().parent.parent


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
    session, bundle = _open(options)
    images = _bench_images(options, bundle)
    timing = time_inference(session, images, options.warmup, options.runs)
    if options.json:
        print(json.dumps(_record(session, timing)))
        return 0
    threads = "1 thread" if session.threads == 1 else f"{session.threads} threads"
    print(f"{session.model.name}: {session.runtime} {session.runtime_version}, {threads}")
    print(f"{options.runs} runs over {len(images)} photographs, one at a time")
    print(f"load {session.load_s * 1000:10.3f} ms")
    print(f"first {timing.first_s * 1000:9.3f} ms")
    for title, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0)):
        print(f"{title} {timing.quantile_ms(share):11.3f} ms")
    return 0


def _record(session: Session, timing: Timing) -> dict[str, Any]:
    return {
        "seconds": timing.seconds,
        "load_s": session.load_s,
        "first_s": timing.first_s,
        "threads": session.threads,
        "runtime": session.runtime,
        "runtime_version": session.runtime_version,
        "settings": dict(session.settings),
    }


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

    bench = commands.add_parser("bench", help="time single inferences")
    bench.add_argument("photographs", nargs="*", metavar="IMAGE", help="an image file")
    bench.add_argument("--images", type=Path, metavar="NPY", help="uint8 [n, size, size, 3]")
    bench.add_argument("--warmup", type=int, default=10, metavar="W", help="untimed runs (10)")
    bench.add_argument("--runs", type=_count, default=100, metavar="K", help="timed runs (100)")
    bench.add_argument("--json", action="store_true", help="print every time, as JSON")
    _add_bundle(bench)
    _add_model(bench)
    bench.set_defaults(command=_bench)

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
    command.add_argument(
        "--threads", type=_count, metavar="N", help="threads of one inference (the bundle's, or 1)"
    )


def _add_model(command: argparse.ArgumentParser) -> None:
    command.add_argument("--model", type=Path, help="a model file, instead of a bundle")
    command.add_argument("--runtime", choices=RUNTIMES, help="the runtime for --model")
