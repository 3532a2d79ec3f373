"""The commands in real processes, in an unpacked bundle, without the pipeline."""

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


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes on Linux only")
def test_a_file_name_that_is_not_text_is_printed(
    run: Run, make_bundle: Make, photos: list[Path]
) -> None:
    odd = os.fsdecode(os.fsencode(photos[0].parent) + b"/caf\xe9.png")
    photos[0].rename(odd)
    done = run("classify", odd, folder=make_bundle())
    assert (done.returncode, done.stderr) == (0, "")
    assert "caf\\udce9.png" in done.stdout
