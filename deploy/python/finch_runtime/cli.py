"""The commands ``classify``, ``bench`` and ``compare``, and ``measure`` for programs."""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import numpy as np

from finch_runtime import benchmark as benchmarking
from finch_runtime import compare as comparing
from finch_runtime import output, protocol
from finch_runtime.arrays import check_output, read_images, write_logits
from finch_runtime.bundle import Bundle, open_source
from finch_runtime.errors import RuntimeProblem, last_line, printable
from finch_runtime.integrity import read_manifest
from finch_runtime.names import decode_name
from finch_runtime.output import say
from finch_runtime.protocol import BenchmarkPlan, ComparePlan, ModelSource, from_json, to_json
from finch_runtime.regular import why_unreadable
from finch_runtime.rows import Images
from finch_runtime.runtimes import RUNTIMES, Array
from finch_runtime.session import predict
from finch_runtime.usage import peak_bytes

# Ceilings of what is counted on the command line, of a batch, and of durations in seconds.
_MOST, _MOST_PER_BATCH, _LONGEST_S = 1_000_000, 4096, 86_400

HERE = Path(__file__).resolve().parent.parent

Plan = TypeVar("Plan", BenchmarkPlan, ComparePlan)
Number = TypeVar("Number", int, float)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Returns:
        Exit code: 0, or 2 after an error, which is one line on stderr.
    """
    warnings.simplefilter("ignore")  # decoders warn about harmless oddities
    try:
        output.prepare()
        options = _parser().parse_args(arguments)
        code: int = options.command(options)
        output.flush()
    except RuntimeProblem as problem:
        output.complain(problem)
        return 2
    except MemoryError:
        output.complain(RuntimeProblem("memory", "is too small", "use fewer or smaller images"))
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader has closed the output
        return 1
    return code


def _classify(options: argparse.Namespace) -> int:
    session, bundle = open_source(ModelSource(str(options.bundle)), options.threads)
    assert bundle is not None
    photos = _find_photos(options.images)
    name_width = max(len(printable(name)) for name in photos)
    label_width = max(len(printable(label)) for label in bundle.labels)
    results: list[dict[str, Any]] = []
    code = 0
    for name in photos:
        try:
            image = _load_image(name, bundle)
        except RuntimeProblem as problem:
            output.complain(problem)
            code = 2
            continue
        _, probabilities = session.run(image[np.newaxis])
        top = top_labels(probabilities[0], bundle.labels, options.top)
        results.append({"image": decode_name(name), "top": top})
        for row, each in enumerate([] if options.json else top):
            first, label = printable(name) if row == 0 else "", printable(each["label"])
            say(f"{first:{name_width}}  {label:{label_width}}  {each['probability']:6.1%}")
    if options.json:
        say(*json.dumps(results, indent=2).splitlines())
    return code


def top_labels(probabilities: Array, labels: Sequence[str], k: int) -> list[dict[str, Any]]:
    """The ``k`` most probable labels of one image with their probabilities, in descending order.

    ``probabilities`` are float32 [classes], in the order of ``labels``.
    """
    if len(labels) != len(probabilities):
        problem = f"there are {len(labels)}, but the model has {len(probabilities)} classes"
        raise RuntimeProblem("labels", problem, "unpack the bundle again")
    order = np.argsort(-probabilities, kind="stable")[:k]
    return [{"label": labels[i], "probability": float(probabilities[i])} for i in order]


def _bench(options: argparse.Namespace) -> int:
    if not options.batch_s:
        options.batches = []
    plan = _plan(BenchmarkPlan, options)
    if (options.model is None) != (options.runtime is None):
        raise RuntimeProblem("bench", "--model and --runtime belong together", "pass both or none")
    source = ModelSource(str(options.model or options.bundle), options.runtime)
    baseline_bytes = peak_bytes()  # before the runtime is imported
    session, bundle = open_source(source, options.threads)
    images = _bench_images(options, bundle)
    result = benchmarking.benchmark(session, images, plan, baseline_bytes)
    lines = benchmarking.format_lines(session.model.name, result, len(images))
    say(*([to_json(result)] if options.json else lines))
    return 0


def _bench_images(options: argparse.Namespace, bundle: Bundle | None) -> Images:
    if bool(options.photos) == (options.images is not None):
        problem = "needs either image files or --images"
        raise RuntimeProblem("bench", problem, "pass exactly one of them")
    if options.images is not None:
        return read_images(options.images)
    if bundle is None:
        problem = "image files need a bundle, which has their size"
        raise RuntimeProblem("bench", problem, "pass --images")
    return np.stack([_load_image(name, bundle) for name in _find_photos(options.photos)])


def _find_photos(names: Sequence[str]) -> list[str]:
    # Imported here: packed images do not need Pillow.
    from finch_runtime.photos import find_photos

    return find_photos(names)


def _load_image(name: str, bundle: Bundle) -> Array:
    from finch_runtime.images import SuffixWarning, load_image
    from finch_runtime.photos import open_photo

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", SuffixWarning)
        image = load_image(open_photo(name), bundle.size, bundle.fit, bundle.channels)
    for each in caught:
        output.warn(str(each.message))
    return image


def _compare(options: argparse.Namespace) -> int:
    plan = _plan(ComparePlan, options)
    images, threads = str(options.images), options.threads or 1
    result = comparing.compare(protocol.CompareRequest(options.models, images, threads, plan))
    lines = comparing.format_lines(options.models, result)
    say(*([to_json(result)] if options.json else lines))
    return 0


def _measure(options: argparse.Namespace) -> int:
    request: protocol.Request = from_json(_read_request(options.request), *protocol.REQUESTS)
    if isinstance(request, protocol.CompareRequest):
        say(to_json(comparing.compare(request)))
        return 0
    baseline_bytes = peak_bytes()  # before the runtime is imported
    session, _ = open_source(request.model, request.threads)
    images = read_images(Path(request.model.images or request.images))
    if isinstance(request, protocol.BenchmarkRequest):
        say(to_json(benchmarking.benchmark(session, images, request.plan, baseline_bytes)))
        return 0
    check_output(Path(request.out), _inputs(request, options.request))
    logits = predict(session, images)
    write_logits(Path(request.out), logits)
    say(to_json(protocol.PredictResult(*logits.shape)))
    return 0


def _read_request(file: Path | None) -> str:
    unreadable = why_unreadable(file) if file else None
    if unreadable is not None:
        raise RuntimeProblem(file, unreadable, "check the path, or use standard input")
    if file is None and sys.stdin is None:
        raise RuntimeProblem("standard input", "is closed", "pass a request file")
    try:
        return file.read_text(encoding="utf-8") if file else sys.stdin.read()
    except (OSError, ValueError) as error:
        problem = f"cannot be read: {last_line(error)}"
        raise RuntimeProblem(file or "request", problem, "check the path") from None


def _inputs(request: protocol.PredictRequest, request_file: Path | None) -> list[Path]:
    """The files that a command reads."""
    model = Path(request.model.path)
    files = [Path(request.model.images or request.images)]
    files += [request_file] if request_file else []
    if request.model.runtime is not None:
        return [*files, model, model.with_suffix(".bin")]
    manifest = model / "manifest.json"
    return [*files, manifest, *(model / name for name in read_manifest(manifest)["files"])]


class _Parser(argparse.ArgumentParser):
    """Reports command-line errors like all other errors."""

    def error(self, message: str) -> NoReturn:
        raise RuntimeProblem("command line", message, f"see {self.prog} --help")

    def print_help(self, file: Any = None) -> None:
        output.say(*self.format_help().splitlines())  # argparse hides or raises what fails

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        output.flush()  # the help
        super().exit(status, message)


def _count(text: str) -> int:
    return _between(1, int(text), _MOST)


def _amount(text: str) -> int:
    return _between(0, int(text), _MOST)


def _batch(text: str) -> int:
    return _between(1, int(text), _MOST_PER_BATCH)


def _seconds(text: str) -> float:
    return _between(0, float(text), _LONGEST_S)


def _between(least: int, value: Number, most: int) -> Number:
    if not least <= value <= most:
        raise argparse.ArgumentTypeError(f"{value} is not {least} to {most:,}")
    return value


def _model(text: str) -> ModelSource:
    runtime, equals, path = text.partition("=")
    if not equals or not path or runtime not in RUNTIMES:
        raise argparse.ArgumentTypeError(f"{text!r} is not {' or '.join(RUNTIMES)}=FILE")
    return ModelSource(path, runtime)


# Option, attribute of a plan, type, description.
_PLAN_OPTIONS: tuple[tuple[str, str, Callable[[str], Any], str], ...] = (
    ("--turns", "turns", _count, "turns per model"),
    ("--runs", "runs", _count, "timed inferences (of compare: per turn)"),
    ("--warmup", "warmup", _amount, "minimum number of warm-up inferences"),
    ("--warmup-seconds", "warmup_s", _seconds, "minimum duration of the warm-up, in seconds"),
    ("--seed", "seed", int, "seed of the order of the models"),
    ("--batches", "batches", _batch, "batch sizes for throughput"),
    (
        "--throughput-seconds",
        "batch_s",
        _seconds,
        "duration per batch size, in seconds",
    ),
    ("--sustained", "sustained_s", _seconds, "duration of a run without pauses, in seconds"),
)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="finch_runtime",
        description="Run an image classifier exported by Finch on this device.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    pixels: dict[str, Any] = {
        "type": Path,
        "metavar": "NPY",
        "help": "NumPy file, uint8 [n, height, width, channels]",
    }

    command = commands.add_parser("classify", help="print the top-k labels of images")
    text = "image file, folder of images, or - for an image on standard input"
    command.add_argument("images", nargs="+", metavar="IMAGE", help=text)
    command.add_argument(
        "--top", type=_count, default=3, metavar="K", help="labels per image (default: 3)"
    )
    _add_common(command, _classify, bundle=True)

    command = commands.add_parser("bench", help="measure latency, memory, throughput and energy")
    command.add_argument("photos", nargs="*", metavar="IMAGE", help=text)
    command.add_argument("--images", **pixels)
    command.add_argument("--model", type=Path, help="model file, instead of a bundle")
    command.add_argument("--runtime", choices=RUNTIMES, help="runtime of --model")
    _add_plan(command, BenchmarkPlan())
    _add_common(command, _bench, bundle=True)

    command = commands.add_parser(
        "compare", help="measure latency of several models in interleaved turns"
    )
    text = f"runtime ({' or '.join(RUNTIMES)}) and model file; the first is the reference"
    command.add_argument("models", nargs="+", type=_model, metavar="RUNTIME=FILE", help=text)
    command.add_argument("--images", required=True, **pixels)
    _add_plan(command, ComparePlan())
    _add_common(command, _compare, bundle=False)

    command = commands.add_parser("measure", help="execute a JSON request and print its result")
    text = "request file (default: standard input)"
    command.add_argument("request", nargs="?", type=Path, metavar="REQUEST", help=text)
    command.set_defaults(command=_measure)
    return parser


def _add_plan(command: argparse.ArgumentParser, plan: BenchmarkPlan | ComparePlan) -> None:
    """Adds the options of a plan, with its defaults."""
    for option, name, kind, text in _PLAN_OPTIONS:
        if hasattr(plan, name):
            command.add_argument(
                option,
                dest=name,
                type=kind,
                default=getattr(plan, name),
                nargs="+" if name == "batches" else None,
                metavar="N",
                help=f"{text} (default: %(default)s)",
            )


def _plan(kind: type[Plan], options: argparse.Namespace) -> Plan:
    return kind(**{each.name: getattr(options, each.name) for each in fields(kind)})


def _add_common(command: argparse.ArgumentParser, function: Any, *, bundle: bool) -> None:
    if bundle:
        text = "unpacked bundle (default: the folder that contains finch_runtime)"
        command.add_argument("--bundle", type=Path, default=HERE, metavar="DIR", help=text)
    text = f"threads of one inference (default: {'that of the bundle, or 1' if bundle else '1'})"
    command.add_argument("--threads", type=_count, metavar="N", help=text)
    command.add_argument("--json", action="store_true", help="print all results as JSON")
    command.set_defaults(command=function)
