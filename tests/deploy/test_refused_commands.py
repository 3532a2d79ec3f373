"""Arguments and requests that the commands refuse."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from finch_runtime.cli import main
from finch_runtime.protocol import (
    ModelSource,
    PredictRequest,
    to_json,
)

if TYPE_CHECKING:
    from conftest import TinyModel

Array = np.ndarray[Any, Any]
Make = Callable[..., Path]


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
