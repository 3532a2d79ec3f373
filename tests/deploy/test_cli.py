"""Real processes, started in an unpacked bundle, on a device that has no pipeline."""

from __future__ import annotations

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

if TYPE_CHECKING:
    from conftest import TinyModel

Array = np.ndarray[Any, Any]
Make = Callable[..., Path]
Run = Callable[..., "subprocess.CompletedProcess[str]"]

LABELS = ["apple", "pear", "crème brûlée", "plum", "fig"]

RUNTIMES = pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Starts Python where it finds its own library, NumPy, Pillow and one runtime; no more."""

    def start(
        *arguments: object,
        folder: Path,
        runtime: str = "onnxruntime",
        module: str = "finch_runtime",
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
            capture_output=True,
            encoding="utf-8",
            check=False,
        )

    return start


@pytest.mark.parametrize("module", ["torch", "pipeline.errors", "stages", "onnx", "openvino"])
def test_the_device_has_nothing_but_what_the_runtime_needs(
    run: Run, tmp_path: Path, module: str
) -> None:
    assert "No module named" in run(folder=tmp_path, module=module).stderr


@RUNTIMES
def test_classify_gives_the_closed_form_probabilities(
    run: Run,
    make_bundle: Make,
    tiny: TinyModel,
    images: Array,
    photographs: list[Path],
    runtime: str,
) -> None:
    done = run(
        "classify", *photographs, "--top", 5, "--json", folder=make_bundle(runtime), runtime=runtime
    )
    assert (done.returncode, done.stderr) == (0, "")
    answers = json.loads(done.stdout)
    assert [answer["image"] for answer in answers] == [str(path) for path in photographs]
    for answer, expected in zip(answers, tiny.probabilities(images[:3]), strict=True):
        found = {guess["label"]: guess["probability"] for guess in answer["top"]}
        assert [found[label] for label in LABELS] == pytest.approx(expected, abs=1e-5)
        assert list(found.values()) == sorted(found.values(), reverse=True)


def test_classify_prints_an_aligned_table_and_names_every_bad_file(
    run: Run, make_bundle: Make, tiny: TinyModel, images: Array, photographs: list[Path]
) -> None:
    page = photographs[0].with_name("page.jpg")
    page.write_text("<html>")
    missing = photographs[0].with_name("missing.jpg")
    done = run(
        "classify", photographs[0], page, missing, photographs[1], "--top", 2, folder=make_bundle()
    )
    assert done.returncode == 2
    problems = done.stderr.splitlines()
    assert len(problems) == 2
    assert problems[0].startswith(f"finch_runtime: {page}: ")
    assert problems[1].startswith(f"finch_runtime: {missing}: ")

    lines = done.stdout.splitlines()
    assert len({len(line) for line in lines}) == 1
    first, second = tiny.probabilities(images[:2])
    expected = [
        (str(photographs[0]), first, 1),
        ("", first, 2),
        (str(photographs[1]), second, 1),
        ("", second, 2),
    ]
    for line, (name, probabilities, rank) in zip(lines, expected, strict=True):
        index = np.argsort(probabilities)[-rank]
        words = f"{name} {LABELS[index]} {probabilities[index]:.1%}".split()
        assert line.split() == words


@RUNTIMES
def test_predict_writes_the_closed_form_logits(
    run: Run, tiny: TinyModel, images: Array, tmp_path: Path, make_bundle: Make, runtime: str
) -> None:
    np.save(tmp_path / "images.npy", images)
    folder = make_bundle(runtime)
    ends = ("--images", tmp_path / "images.npy", "--out", tmp_path / "logits.npy")
    model = ("--model", tiny.path(runtime, "dynamic"), "--runtime", runtime, "--threads", 1)
    for begins in ((), model):
        done = run("predict", *begins, *ends, folder=folder, runtime=runtime)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        logits = np.load(tmp_path / "logits.npy")
        assert logits.dtype == np.float32
        np.testing.assert_allclose(logits, tiny.logits(images), rtol=1e-4, atol=1e-5)
        (tmp_path / "logits.npy").unlink()


@RUNTIMES
def test_bench_reports_every_run_as_json(
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
    record = json.loads(done.stdout)
    assert len(record["seconds"]) == 9 and min(record["seconds"]) > 0
    assert record["load_s"] > 0 and record["first_s"] > 0
    assert (record["threads"], record["runtime"]) == (2, runtime)
    assert record["runtime_version"][0].isdigit()
    assert record["peak_bytes"] > record["bare_bytes"] > 1e6
    assert [rate["batch"] for rate in record["rates"]] == [1]
    assert record["sustained"]["moments"][-1]["at_s"] >= 0.05
    assert set(record["energy"]) == {"joules", "source"}
    assert len(record["conditions"]) == 2


def test_bench_prints_figures_over_the_photographs_that_are_passed(
    run: Run, make_bundle: Make, photographs: list[Path]
) -> None:
    short = ("--runs", 5, "--warmup-seconds", 0, "--throughput-seconds", 0.01, "--sustained", 0.05)
    done = run("bench", *photographs, *short, folder=make_bundle())
    assert (done.returncode, done.stderr) == (0, "")
    assert "5 runs over 3 photographs" in done.stdout
    figures = {line.split()[0] for line in done.stdout.splitlines()[2:]}
    assert figures == {
        *("load", "first", "p50", "p90", "p99", "max"),
        *("memory", "energy", "machine", "throughput", "sustained"),
    }


@RUNTIMES
def test_compare_prints_every_model_beside_the_first(
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


def test_a_reader_that_leaves_early_is_no_error(make_bundle: Make, photographs: list[Path]) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run(
        [sys.executable, "-m", "finch_runtime", "classify", str(photographs[0])],
        cwd=make_bundle(),
        stdout=write_end,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(write_end)
    assert done.stderr == b""


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes on Linux only")
def test_a_file_name_that_is_no_text_can_still_be_shown(
    run: Run, make_bundle: Make, photographs: list[Path]
) -> None:
    odd = os.fsdecode(os.fsencode(photographs[0].parent) + b"/caf\xe9.png")
    photographs[0].rename(odd)
    done = run("classify", odd, folder=make_bundle())
    assert (done.returncode, done.stderr) == (0, "")
    assert "caf\\udce9.png" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("", "COMMAND"),
        ("clasify x.jpg", "clasify"),
        ("classify", "IMAGE"),
        ("classify x.jpg --top 0", "--top"),
        ("bench --model {model} --runtime tflite", "tflite"),
        ("bench --model {model} --images {images}", "needs --runtime"),
        ("bench --runtime openvino --images {images}", "goes with --model"),
        ("bench --bundle {bundle}", "real photographs"),
        ("bench --bundle {bundle} --images {images} x.jpg", "pass one of them"),
        ("bench --model {model} --runtime onnxruntime x.jpg", "pass --images"),
        ("bench --bundle {bundle} --images {images} --warmup -1", "warmup"),
        ("bench --bundle {bundle} nowhere.jpg", "nowhere.jpg: there is no such file"),
        ("bench --bundle {bundle} --images {images} --sustained inf", "--sustained"),
        ("compare {model} --images {images}", "onnxruntime or openvino=FILE"),
        ("compare onnxruntime=nowhere.onnx --images {images}", "nowhere.onnx"),
        ("predict --bundle {bundle} --images nowhere.npy --out o.npy", "nowhere.npy"),
        ("predict --bundle {bundle} --images {images} --out no/where.npy", "where.npy"),
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
    says: str,
) -> None:
    np.save(tmp_path / "images.npy", images)
    places = {
        "model": tiny.path("onnxruntime", "fixed"),
        "images": tmp_path / "images.npy",
        "bundle": make_bundle(),
    }
    assert main([word.format(**places) for word in arguments.split()]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("finch_runtime: ") and says in captured.err
    assert captured.err.count("\n") == 1
