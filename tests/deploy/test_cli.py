"""The commands in real processes, in an unpacked bundle, without the pipeline."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from finch_runtime.cli import main
from finch_runtime.protocol import (
    BenchmarkPlan,
    BenchmarkRequest,
    BenchmarkResult,
    ComparePlan,
    CompareRequest,
    CompareResult,
    ModelSource,
    PredictRequest,
    PredictResult,
    from_json,
    to_json,
)
from PIL import Image

from tests.damaged_images import encode

if TYPE_CHECKING:
    from conftest import TinyModel

Array = np.ndarray[Any, Any]
Make = Callable[..., Path]
Run = Callable[..., "subprocess.CompletedProcess[str]"]

LABELS = ["apple", "pear", "crème brûlée", "plum", "fig"]

RUNTIMES = pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Starts Python with its standard library, NumPy, Pillow and one inference runtime only."""

    def start(
        *arguments: object,
        folder: Path,
        runtime: str = "onnxruntime",
        module: str = "finch_runtime",
        stdin: str = "",
    ) -> subprocess.CompletedProcess[str]:
        device = tmp_path / f"device-{runtime}"
        if not device.exists():
            device.mkdir()
            for name in ("numpy", "pillow", runtime):
                package = distribution(name)
                for top in {file.parts[0] for file in package.files or []} - {".."}:
                    (device / top).symlink_to(str(package.locate_file(top)))
        return subprocess.run(
            [sys.executable, "-S", "-m", module, *map(str, arguments)],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(device), "PYTHONIOENCODING": "utf-8"},
            input=stdin,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )

    return start


@pytest.mark.parametrize("module", ["torch", "pipeline.errors", "stages", "onnx", "openvino"])
def test_the_device_has_only_what_the_runtime_needs(run: Run, tmp_path: Path, module: str) -> None:
    assert "No module named" in run(folder=tmp_path, module=module).stderr


@RUNTIMES
def test_classify_gives_the_closed_form_probabilities(
    run: Run,
    make_bundle: Make,
    tiny: TinyModel,
    images: Array,
    photos: list[Path],
    runtime: str,
) -> None:
    done = run(
        "classify", *photos, "--top", 5, "--json", folder=make_bundle(runtime), runtime=runtime
    )
    assert (done.returncode, done.stderr) == (0, "")
    results = json.loads(done.stdout)
    assert [result["image"] for result in results] == [str(path) for path in photos]
    for result, expected in zip(results, tiny.probabilities(images[:3]), strict=True):
        found = {each["label"]: each["probability"] for each in result["top"]}
        assert [found[label] for label in LABELS] == pytest.approx(expected, abs=1e-5)
        assert list(found.values()) == sorted(found.values(), reverse=True)


def test_a_file_with_a_wrong_suffix_is_classified_with_a_warning(
    run: Run, make_bundle: Make, photos: list[Path]
) -> None:
    wrong = photos[0].with_name("wrong.jpg")
    wrong.write_bytes(photos[0].read_bytes())
    bundle = make_bundle()
    right, done = (run("classify", path, "--json", folder=bundle) for path in (photos[0], wrong))
    assert (right.returncode, done.returncode) == (0, 0)
    assert "wrong.jpg: is PNG" in done.stderr and "JPEG" in done.stderr
    assert json.loads(done.stdout)[0]["top"] == json.loads(right.stdout)[0]["top"]


def test_without_the_plug_in_a_heic_file_is_refused_by_name(
    run: Run, make_bundle: Make, photos: list[Path]
) -> None:
    photo = photos[0].with_name("phone.heic")
    photo.write_bytes(encode(Image.new("RGB", (64, 64)), "HEIF"))
    done = run("classify", photo, folder=make_bundle())
    assert done.returncode == 2
    assert "phone.heic" in done.stderr and "pillow-heif" in done.stderr


def test_classify_prints_an_aligned_table_and_names_every_bad_file(
    run: Run, make_bundle: Make, tiny: TinyModel, images: Array, photos: list[Path]
) -> None:
    page = photos[0].with_name("page.jpg")
    page.write_text("<html>")
    missing = photos[0].with_name("missing.jpg")
    done = run("classify", photos[0], page, missing, photos[1], "--top", 2, folder=make_bundle())
    assert done.returncode == 2
    problems = done.stderr.splitlines()
    assert len(problems) == 2
    assert problems[0].startswith(f"finch_runtime: {page}: ")
    assert problems[1].startswith(f"finch_runtime: {missing}: ")

    lines = done.stdout.splitlines()
    assert len({len(line) for line in lines}) == 1
    first, second = tiny.probabilities(images[:2])
    expected = [
        (str(photos[0]), first, 1),
        ("", first, 2),
        (str(photos[1]), second, 1),
        ("", second, 2),
    ]
    for line, (name, probabilities, rank) in zip(lines, expected, strict=True):
        index = np.argsort(probabilities)[-rank]
        words = f"{name} {LABELS[index]} {probabilities[index]:.1%}".split()
        assert line.split() == words


@RUNTIMES
def test_measure_writes_the_closed_form_logits(
    run: Run, tiny: TinyModel, images: Array, tmp_path: Path, make_bundle: Make, runtime: str
) -> None:
    np.save(tmp_path / "images.npy", images)
    folder = make_bundle(runtime)
    model = tiny.path(runtime, "dynamic")
    for source in (ModelSource(str(folder)), ModelSource(str(model), runtime)):
        request = PredictRequest(
            source, str(tmp_path / "images.npy"), 1, str(tmp_path / "logits.npy")
        )
        (tmp_path / "request.json").write_text(to_json(request))
        done = run("measure", tmp_path / "request.json", folder=folder, runtime=runtime)
        assert (done.returncode, done.stderr) == (0, "")
        assert from_json(done.stdout, PredictResult) == PredictResult(7, 5)
        logits = np.load(tmp_path / "logits.npy")
        assert logits.dtype == np.float32
        np.testing.assert_allclose(logits, tiny.logits(images), rtol=1e-4, atol=1e-5)
        (tmp_path / "logits.npy").unlink()


def check(result: BenchmarkResult, runtime: str) -> None:
    timing = result.timing
    assert [len(turn) for turn in timing.turns] == [9] and min(timing.turns[0]) > 0
    assert timing.load_s > 0 and timing.first_s > 0
    assert (timing.threads, timing.runtime) == (2, runtime)
    assert timing.runtime_version[0].isdigit()
    assert timing.peak_bytes and timing.baseline_bytes
    assert timing.peak_bytes > timing.baseline_bytes > 1e6
    assert [rate.batch for rate in result.rates] == [1]
    assert result.sustained and result.sustained.steps[-1].end_s >= 0.05
    assert len(result.conditions) == 2


@RUNTIMES
def test_measure_reads_a_request_from_standard_input(
    run: Run, tiny: TinyModel, images: Array, tmp_path: Path, make_bundle: Make, runtime: str
) -> None:
    np.save(tmp_path / "images.npy", images)
    source = ModelSource(str(tiny.path(runtime, "fixed")), runtime)
    plan = BenchmarkPlan(9, 2, 0.0, batch_s=0.01, sustained_s=0.05)
    request = BenchmarkRequest(source, str(tmp_path / "images.npy"), 2, plan)
    folder = make_bundle(runtime)
    done = run("measure", folder=folder, runtime=runtime, stdin=to_json(request))
    assert (done.returncode, done.stderr) == (0, "")
    check(from_json(done.stdout, BenchmarkResult), runtime)


def test_measure_compares_models(
    run: Run, tiny: TinyModel, images: Array, tmp_path: Path, make_bundle: Make
) -> None:
    np.save(tmp_path / "images.npy", images)
    source = ModelSource(str(tiny.path("onnxruntime", "fixed")), "onnxruntime")
    plan = ComparePlan(turns=2, runs=3, warmup_s=0.0)
    request = CompareRequest([source, source], str(tmp_path / "images.npy"), 1, plan)
    done = run("measure", folder=make_bundle(), stdin=to_json(request))
    assert (done.returncode, done.stderr) == (0, "")
    result = from_json(done.stdout, CompareResult)
    assert [[len(turn) for turn in timing.turns] for timing in result.models] == [[3, 3]] * 2


@RUNTIMES
def test_bench_prints_all_results_as_json(
    run: Run, tiny: TinyModel, images: Array, tmp_path: Path, make_bundle: Make, runtime: str
) -> None:
    np.save(tmp_path / "images.npy", images)
    done = run(
        *("bench", "--model", tiny.path(runtime, "fixed"), "--runtime", runtime),
        *("--images", tmp_path / "images.npy"),
        *("--warmup", 2, "--warmup-seconds", 0, "--runs", 9, "--threads", 2, "--json"),
        *("--throughput-seconds", 0.01, "--sustained", 0.05),
        folder=make_bundle(runtime),
        runtime=runtime,
    )
    assert (done.returncode, done.stderr) == (0, "")
    check(from_json(done.stdout, BenchmarkResult), runtime)


def test_bench_prints_its_measurements_of_image_files(
    run: Run, make_bundle: Make, photos: list[Path]
) -> None:
    short = ("--runs", 5, "--warmup-seconds", 0, "--throughput-seconds", 0.01, "--sustained", 0.05)
    done = run("bench", *photos, *short, folder=make_bundle())
    assert (done.returncode, done.stderr) == (0, "")
    assert "5 runs at batch 1 over 3 images" in done.stdout
    printed = {line.split()[0] for line in done.stdout.splitlines()[2:]}
    assert printed == {
        *("load", "first", "p50", "p90", "p99", "max"),
        *("memory", "energy", "machine", "throughput", "sustained"),
    }


@RUNTIMES
def test_compare_prints_the_ratio_of_every_model_to_the_first(
    run: Run, tiny: TinyModel, images: Array, tmp_path: Path, make_bundle: Make, runtime: str
) -> None:
    np.save(tmp_path / "images.npy", images)
    paths = [tiny.path(runtime, "fixed"), tiny.path(runtime, "dynamic")]
    done = run(
        *("compare", *(f"{runtime}={path}" for path in paths)),
        *("--images", tmp_path / "images.npy", "--turns", 3, "--warmup-seconds", 0),
        folder=make_bundle(runtime),
        runtime=runtime,
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [line[-1] for line in lines] == [str(path) for path in paths]
    assert lines[0][2] == "1.000"
    assert all(float(line[0]) > 0 and float(line[2]) > 0 for line in lines)


def test_a_closed_output_is_not_an_error(make_bundle: Make, photos: list[Path]) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run(
        [sys.executable, "-m", "finch_runtime", "classify", str(photos[0])],
        cwd=make_bundle(),
        stdout=write_end,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(write_end)
    assert done.stderr == b""


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes on Linux only")
def test_a_file_name_that_is_not_text_is_printed(
    run: Run, make_bundle: Make, photos: list[Path]
) -> None:
    odd = os.fsdecode(os.fsencode(photos[0].parent) + b"/caf\xe9.png")
    photos[0].rename(odd)
    done = run("classify", odd, folder=make_bundle())
    assert (done.returncode, done.stderr) == (0, "")
    assert "caf\\udce9.png" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("", "COMMAND"),
        ("clasify x.jpg", "clasify"),
        ("classify", "IMAGE"),
        ("classify x.jpg --top 0", "--top"),
        ("bench --model {model} --runtime tflite", "tflite"),
        ("bench --model {model} --images {images}", "--runtime"),
        ("bench --runtime openvino --images {images}", "--model"),
        ("bench --bundle {bundle}", "--images"),
        ("bench --bundle {bundle} --images {images} x.jpg", "--images"),
        ("bench --model {model} --runtime onnxruntime x.jpg", "--images"),
        ("bench --bundle {bundle} --images {images} --warmup -1", "warmup"),
        ("bench --bundle {bundle} nowhere.jpg", "nowhere.jpg: no such file"),
        ("bench --bundle {bundle} --images {images} --sustained inf", "--sustained"),
        ("compare {model} --images {images}", "onnxruntime or openvino=FILE"),
        ("compare onnxruntime=nowhere.onnx --images {images}", "nowhere.onnx"),
        ("measure nowhere.json", "nowhere.json"),
        ("measure {model}", "model.onnx"),
        ("measure {images_request}", "nowhere.npy"),
        ("measure {out_request}", "where.npy"),
        ("measure {newer_request}", "protocol: version is 9"),
        ("classify --bundle nowhere x.jpg", "nowhere"),
    ],
)
def test_a_wrong_command_gets_one_line_and_exit_code_2(
    tiny: TinyModel,
    make_bundle: Make,
    images: Array,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: str,
    expected: str,
) -> None:
    np.save(tmp_path / "images.npy", images)
    paths = {
        "model": tiny.path("onnxruntime", "fixed"),
        "images": tmp_path / "images.npy",
        "bundle": make_bundle(),
    }
    request = to_json(
        PredictRequest(ModelSource(str(paths["bundle"])), str(paths["images"]), 1, "no/where.npy")
    )
    requests = {
        "images_request": request.replace("no/where.npy", "out.npy").replace(
            "images.npy", "nowhere.npy"
        ),
        "out_request": request,
        "newer_request": request.replace('"protocol": ', '"protocol": 9'),
    }
    for name, text in requests.items():
        paths[name] = tmp_path / name
        paths[name].write_text(text)
    assert main([word.format(**paths) for word in arguments.split()]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("finch_runtime: ") and expected in captured.err
    assert captured.err.count("\n") == 1


def start(folder: Path, *arguments: object, closed: str = "", **streams: Any) -> Any:
    """Runs a command through the shell, which can close standard streams (``>&-``)."""
    line = ["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-m", "finch_runtime"]
    line += map(str, arguments)
    return subprocess.run(line, cwd=folder, timeout=60, check=False, **streams)


COMMANDS = (
    ("classify", "{photo}"),
    ("classify", "{photo}", "--json"),
    ("bench", "{photo}", "--runs", "3", "--warmup-seconds", "0", "--throughput-seconds", "0"),
    ("--help",),
)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /dev/full")
@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_output_is_one_line(
    make_bundle: Make, photos: list[Path], command: tuple[str, ...]
) -> None:
    arguments = [word.format(photo=photos[0]) for word in command]
    with Path("/dev/full").open("w") as full:
        done = start(make_bundle(), *arguments, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 2
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("finch_runtime: standard output: cannot be written: No space left")


def test_a_closed_standard_output_is_one_line(make_bundle: Make, photos: list[Path]) -> None:
    done = start(make_bundle(), "classify", photos[0], closed=">&-", stderr=subprocess.PIPE)
    assert done.returncode == 2
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("finch_runtime: standard output: is closed")


@pytest.mark.parametrize("closed", ["2>&-", "2>/dev/full", "<&-"])
def test_problems_do_not_need_standard_error(
    make_bundle: Make, photos: list[Path], closed: str
) -> None:
    names = [photos[0], photos[0].with_name("missing.png")]
    done = start(make_bundle(), "classify", *names, "--json", closed=closed, capture_output=True)
    assert done.returncode == 2
    assert [result["image"] for result in json.loads(done.stdout)] == [str(photos[0])]
    assert b"missing.png" not in done.stdout.replace(b'"image"', b"")


def test_a_closed_standard_input_is_no_request(make_bundle: Make) -> None:
    done = start(make_bundle(), "measure", closed="<&-", capture_output=True)
    assert done.returncode == 2 and b"standard input: is closed" in done.stderr
    assert done.stderr.count(b"\n") == 1


def request_for(folder: Path, out: str, model: Path, runtime: str | None) -> Path:
    source = ModelSource(str(model), runtime)
    path = folder / "request.json"
    path.write_text(to_json(PredictRequest(source, str(folder / "images.npy"), 1, out)))
    return path


@pytest.mark.parametrize(
    ("out", "expected"),
    [
        ("images.npy", "is an input"),
        ("link.npy", "is an input"),
        ("request.json", "is an input"),
        ("model.xml", "is an input"),
        ("model.bin", "is an input"),
        ("pipe", "not a regular file"),
        ("null", "not a regular file"),
        ("x" * 300, "File name too long"),
        ("\ud800", "not a name"),
        ("a\0b", "not a name"),
        ("no/logits.npy", "folder is missing"),
    ],
)
def test_logits_replace_neither_inputs_nor_devices(
    tiny: TinyModel,
    images: Array,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    out: str,
    expected: str,
) -> None:
    np.save(tmp_path / "images.npy", images)
    for file in (
        tiny.path("openvino", "fixed"),
        tiny.path("openvino", "fixed").with_suffix(".bin"),
    ):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "link.npy").symlink_to("images.npy")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "null").symlink_to("/dev/null")
    request = request_for(tmp_path, f"{tmp_path}/{out}", tmp_path / "model.xml", "openvino")
    before = {path.name: path.lstat() for path in tmp_path.iterdir()}
    assert main(["measure", str(request)]) == 2
    captured = capsys.readouterr()
    assert expected in captured.err and captured.err.count("\n") == 1
    after = {path.name: path.lstat() for path in tmp_path.iterdir()}
    assert {name: (stat.st_ino, stat.st_size) for name, stat in before.items()} == {
        name: (stat.st_ino, stat.st_size) for name, stat in after.items()
    }


@pytest.mark.parametrize(
    "out", ["", ".", "{bundle}", "{bundle}/model.onnx", "{bundle}/manifest.json", "{bundle}/link"]
)
def test_logits_replace_no_file_of_the_bundle(
    make_bundle: Make, images: Array, tmp_path: Path, capsys: pytest.CaptureFixture[str], out: str
) -> None:
    bundle = make_bundle()
    (bundle / "link").symlink_to("labels.txt")
    np.save(tmp_path / "images.npy", images)
    request = request_for(tmp_path, out.format(bundle=bundle), bundle, None)
    before = {path: path.read_bytes() for path in bundle.rglob("*") if path.is_file()}
    assert main(["measure", str(request)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert {path: path.read_bytes() for path in bundle.rglob("*") if path.is_file()} == before


def test_logits_may_lie_in_the_folder_of_the_bundle(
    make_bundle: Make, images: Array, tmp_path: Path
) -> None:
    bundle = make_bundle()
    np.save(tmp_path / "images.npy", images)
    for _ in range(2):
        assert main(["measure", str(request_for(tmp_path, f"{bundle}/a.npy", bundle, None))]) == 0
    assert np.load(bundle / "a.npy").shape == (7, 5)


@pytest.mark.parametrize("name", ["images.npy", "request.json", "photo.jpg"])
def test_no_command_waits_for_a_pipe(
    make_bundle: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    os.mkfifo(tmp_path / name)
    bundle = str(make_bundle())
    arguments = {
        "images.npy": ["bench", "--bundle", bundle, "--images"],
        "request.json": ["measure"],
        "photo.jpg": ["classify", "--bundle", bundle],
    }[name]
    assert main([*arguments, str(tmp_path / name)]) == 2
    assert "is not a regular file" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--runs", "1" + "0" * 30],
        ["--batches", "100000"],
        ["--warmup", "1" + "0" * 30],
        ["--sustained", "1e9"],
        ["--sustained", "nan"],
        ["--threads", "100000"],
        ["--runs", "9" * 5000],
    ],
)
def test_every_number_has_a_ceiling(
    make_bundle: Make,
    photos: list[Path],
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
) -> None:
    assert main(["bench", "--bundle", str(make_bundle()), str(photos[0]), *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1


def test_nothing_that_is_printed_reaches_the_terminal_raw(
    make_bundle: Make, photos: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Class names come with a bundle, and file names from anywhere."""
    hostile = "\x1b[2J\u202ea\nb"
    bundle = make_bundle()
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["labels"] = [f"{number}{hostile}" for number in range(5)]
    (bundle / "labels.txt").write_text("".join(f"{label}\n" for label in manifest["labels"]))
    content = hashlib.sha256((bundle / "labels.txt").read_bytes()).hexdigest()
    manifest["files"]["labels.txt"] = content
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    odd = photos[0].rename(photos[0].with_name(f"{hostile}.png"))
    missing = f"{hostile}.jpg"
    arguments = ["classify", "--bundle", str(bundle), str(odd), missing]
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 3 and captured.err.count("\n") == 1
    assert r"\x1b[2J\u202ea\nb.png" in captured.out and r"\x1b[2J\u202ea\nb.jpg" in captured.err
    assert all(line.isprintable() for line in (captured.out + captured.err).split("\n"))
    main([hostile])
    assert r"\x1b[2J\u202ea\nb" in capsys.readouterr().err
