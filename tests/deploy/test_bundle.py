"""Validation of manifests and verification of files."""

from __future__ import annotations

import copy
import hashlib
import json
import os
from collections.abc import Callable
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

import pytest
from finch_runtime.bundle import Bundle, open_bundle, open_source
from finch_runtime.errors import RuntimeProblem
from finch_runtime.protocol import ModelSource
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

Make = Callable[..., Path]
INPUT = {"dtype": "uint8", "layout": "NHWC", "color": "RGB", "fit": "crop"}


def change(folder: Path, key: str, value: Any) -> None:
    """Sets one value of the manifest; None removes it."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    *parents, last = key.split(".")
    place = manifest
    for parent in parents:
        place = place[parent]
    if value is None:
        del place[last]
    else:
        place[last] = value
    path.write_text(json.dumps(manifest))


def add_file(folder: Path, name: str, digest: str) -> None:
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["files"][name] = digest
    path.write_text(json.dumps(manifest))


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_bundle_is_read(make_bundle: Make, runtime: str) -> None:
    folder = make_bundle(runtime)
    bundle = open_bundle(folder)
    assert bundle.model.parent == folder and bundle.model.is_file()
    assert (bundle.runtime, bundle.size, bundle.fit, bundle.threads) == (runtime, 8, "crop", 1)
    assert bundle.labels == ("apple", "pear", "crème brûlée", "plum", "fig")


@pytest.mark.parametrize("name", ["model.bin", "labels.txt", "finch_runtime/images.py"])
def test_a_changed_or_missing_file_is_named(make_bundle: Make, name: str) -> None:
    folder = make_bundle("openvino")
    file = folder / name
    content = bytearray(file.read_bytes())
    content[0] ^= 1
    file.write_bytes(content)
    with pytest.raises(RuntimeProblem, match="differs from the bundled file") as caught:
        open_bundle(folder)
    assert caught.value.thing == file
    file.unlink()
    with pytest.raises(RuntimeProblem, match="no such file") as caught:
        open_bundle(folder)
    assert caught.value.thing == file


@pytest.mark.parametrize(
    "name",
    ["../secret", "finch_runtime/../../secret", "..\\secret", "C:\\secret", "C:secret", ""],
)
def test_a_path_out_of_the_bundle_is_rejected_even_with_the_right_hash(
    make_bundle: Make, name: str
) -> None:
    folder = make_bundle()
    (folder.parent / "secret").write_bytes(b"secret")
    add_file(folder, name, hashlib.sha256(b"secret").hexdigest())
    with pytest.raises(RuntimeProblem, match="outside of the bundle"):
        open_bundle(folder)


@pytest.mark.parametrize("name", ["a\0b", "\ud800", "a" * 300, "loop/file"])
def test_a_name_that_no_file_can_have_is_rejected(make_bundle: Make, name: str) -> None:
    folder = make_bundle()
    (folder / "loop").symlink_to("loop")
    add_file(folder, name, "0" * 64)
    with pytest.raises(RuntimeProblem, match=r"no such file|no file can have|cannot be read"):
        open_bundle(folder)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("name", ["manifest.json", "model.onnx", "labels.txt"])
def test_a_pipe_is_rejected_without_waiting(make_bundle: Make, name: str) -> None:
    folder = make_bundle()
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(RuntimeProblem, match=f"{name}.*is not a regular file"):
        open_bundle(folder)


def test_a_class_name_changed_in_the_manifest_is_rejected(make_bundle: Make) -> None:
    folder = make_bundle()
    for labels in (["apple", "pear", "crème brulée", "plum", "fig"], ["apple", "pear\ud800"], []):
        change(folder, "labels", labels)
        with pytest.raises(RuntimeProblem, match="labels") as caught:
            open_bundle(folder)
        assert caught.value.thing == folder / "manifest.json"


def test_labels_without_a_hash_are_rejected(make_bundle: Make) -> None:
    folder = make_bundle()
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["files"]["labels.txt"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(RuntimeProblem, match=r"no hash of 'labels\.txt'"):
        open_bundle(folder)


@pytest.mark.parametrize(
    "name",
    [
        "json.py",
        "numpy.pyc",
        f"numpy{EXTENSION_SUFFIXES[0]}",
        "openvino/__init__.py",
        "openvino/runtime.py",
        "finch_runtime/tflite.py",
        "finch_runtime/runtimes/tflite.py",
        "finch_runtime/data",
    ],
)
def test_other_code_in_the_bundle_is_rejected(make_bundle: Make, name: str) -> None:
    folder = make_bundle()
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("")
    with pytest.raises(RuntimeProblem, match="not part of the bundle") as caught:
        open_bundle(folder)
    assert caught.value.thing == folder / name


def test_images_and_a_virtual_environment_may_lie_in_the_bundle(make_bundle: Make) -> None:
    folder = make_bundle()
    for name in ("photo.png", "photos/a.png", ".venv/bin/x.py", "env/lib/numpy/__init__.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("")
    open_bundle(folder)


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("size", [(16, 16), (8, 9)])
def test_a_manifest_with_another_size_than_the_model_is_rejected(
    make_bundle: Make, runtime: str, size: tuple[int, int]
) -> None:
    folder = make_bundle(runtime)
    change(folder, "input.height", size[0])
    change(folder, "input.width", size[1])
    with pytest.raises(RuntimeProblem, match=rf"{size[0]} x {size[1]} x 3.* 8 x 8 x 3"):
        open_source(ModelSource(str(folder)), None)


def test_a_manifest_with_another_color_than_the_model_is_rejected(make_bundle: Make) -> None:
    folder = make_bundle()
    change(folder, "input.color", "gray")
    with pytest.raises(RuntimeProblem, match=r"8 x 8 x 1.* 8 x 8 x 3"):
        open_source(ModelSource(str(folder)), None)


def test_an_absolute_path_and_a_link_out_of_the_bundle_are_rejected(make_bundle: Make) -> None:
    folder = make_bundle()
    secret = folder.parent / "secret"
    secret.write_bytes(b"secret")
    manifest = (folder / "manifest.json").read_text()
    (folder / "link").symlink_to(secret)
    for name in (str(secret), "link"):
        (folder / "manifest.json").write_text(manifest)
        add_file(folder, name, hashlib.sha256(b"secret").hexdigest())
        with pytest.raises(RuntimeProblem, match="outside of the bundle"):
            open_bundle(folder)


@pytest.mark.parametrize("name", ["model.xml", "model.bin"])
def test_a_model_without_a_hash_is_rejected(make_bundle: Make, name: str) -> None:
    folder = make_bundle("openvino")
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["files"][name]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(RuntimeProblem, match=f"no hash of '{name}'"):
        open_bundle(folder)


@pytest.mark.parametrize(
    ("key", "value", "match"),
    [
        ("format", 2, "reads format 1"),
        ("format", True, "format"),
        ("labels", None, "`labels` is missing"),
        ("labels", [], "labels"),
        ("labels", ["a", 3], "labels"),
        ("model.runtime", "tflite", "tflite.*onnxruntime or openvino"),
        ("input.fit", "squash", "crop or stretch or pad"),
        ("input.color", "BGR", "RGB or gray"),
        ("input.layout", "NCHW", "NHWC"),
        ("input.dtype", "float32", "uint8"),
        ("input.width", "9", "width"),
        ("input.width", None, "`input.width` is missing"),
        ("input.width", 5000, "8 x 5000"),
        ("input.height", 0, "0 x 8"),
        ("input", dict.fromkeys(("height", "width"), 50_000) | INPUT, "50000 x 50000"),
        ("input", [], r"`input\.dtype` is missing"),
        ("threads", "1", "threads"),
        ("threads", 0, "threads"),
        ("threads", 1000, "1000 threads"),
        ("threads", 10**30, "threads"),
        ("files", ["model.onnx"], "files"),
    ],
)
def test_a_manifest_with_an_impossible_value_names_it(
    make_bundle: Make, key: str, value: Any, match: str
) -> None:
    folder = make_bundle()
    change(folder, key, value)
    with pytest.raises(RuntimeProblem, match=match) as caught:
        open_bundle(folder)
    assert caught.value.thing == folder / "manifest.json"


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b" " * (1 << 24) + b"{}"]
)
def test_a_damaged_manifest_is_rejected(make_bundle: Make, content: bytes) -> None:
    folder = make_bundle()
    (folder / "manifest.json").write_bytes(content)
    with pytest.raises(RuntimeProblem, match=r"manifest\.json"):
        open_bundle(folder)


def test_a_folder_without_a_manifest_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(RuntimeProblem, match="unpacked bundle"):
        open_bundle(tmp_path)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=()))
    | st.sampled_from(["..", "model.onnx", "finch_runtime", "openvino", 10**30]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@pytest.fixture
def opened(make_bundle: Make) -> tuple[Path, dict[str, Any], Bundle]:
    folder = make_bundle()
    return folder, json.loads((folder / "manifest.json").read_text()), open_bundle(folder)


@given(data=st.data(), value=JSON)
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_changed_value_is_refused_or_leaves_model_and_labels_as_they_are(
    opened: tuple[Path, dict[str, Any], Bundle], data: st.DataObject, value: Any
) -> None:
    folder, original, expected = opened
    manifest = copy.deepcopy(original)
    place: Any = manifest
    key = data.draw(st.sampled_from(sorted(place)))
    while isinstance(place[key], dict) and data.draw(st.booleans()):
        place = place[key]
        key = data.draw(st.sampled_from(sorted(place)))
    place[key] = value
    (folder / "manifest.json").write_text(json.dumps(manifest))
    try:
        found = open_bundle(folder)
    except RuntimeProblem as problem:
        assert len(str(problem).splitlines()) == 1
        return
    for name in ("model", "runtime", "labels"):
        assert getattr(found, name) == getattr(expected, name)
