import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.errors import ArtifactError, DataError
from pipeline.shipping.bundle import build_bundle, unpack_bundle
from tests.pipeline.shipping.brightness import LABELS, bundle_spec, write_onnx

RUNTIME_FOLDER = Path(__file__).parents[3] / "deploy" / "python"
RECORD = {
    "params": {"evaluate": {"threads": 2}},
    "candidates": [{"name": "ort-fp32", "p50_ms": 0.68, "verdict": "shipped"}],
    "chosen": {"name": "ort-fp32", "reason": "the only one"},
    "made_from": {"student": "ab" * 32},
    "data": {"source": "synthetic", "license": "CC0"},
}


@pytest.fixture
def inputs(tmp_path):
    model = tmp_path / "candidates" / "ort-fp32" / "model.onnx"
    write_onnx(model)
    return {
        "spec": bundle_spec(model, record=RECORD),
        "runtime_folder": RUNTIME_FOLDER,
        "out": tmp_path / "dist" / "birds-1.0.tar.gz",
    }


def with_spec(inputs, **changes):
    return inputs | {"spec": replace(inputs["spec"], **changes)}


@pytest.fixture
def openvino_inputs(inputs, tmp_path):
    import openvino

    (portable,) = inputs["spec"].files
    model = tmp_path / "candidates" / "ov-fp32" / "model.xml"
    openvino.save_model(openvino.Core().read_model(portable), model, compress_to_fp16=False)
    files = [model, model.with_suffix(".bin")]
    hashes = {path: sha256(path) for path in (*files, portable)}
    changes = {"hashes": hashes, "portable": portable, "data_license": "Free for all.\n"}
    return with_spec(inputs, files=files, runtime="openvino", **changes)


def build(**inputs):
    build_bundle(**inputs)
    return inputs["out"]


def files_below(folder):
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def classify(folder, *images):
    """Runs the unpacked bundle as a user would: from its folder, without this repository."""
    run = subprocess.run(
        [sys.executable, "-m", "finch_runtime", "classify", *map(str, images), "--json"],
        cwd=folder,
        env={k: v for k, v in os.environ.items() if not k.startswith("PYTHON")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return {Path(a["image"]).stem: a["top"][0]["label"] for a in json.loads(run.stdout)}


@pytest.fixture
def images(tmp_path):
    paths = []
    for name, level in (("night", 20), ("noon", 230)):
        paths.append(tmp_path / f"{name}.png")
        Image.new("RGB", (40, 30), (level,) * 3).save(paths[-1])
    return paths


@pytest.mark.parametrize("kind", ["inputs", "openvino_inputs"])
def test_an_unpacked_bundle_classifies_images(kind, request, images, tmp_path):
    folder = unpack_bundle(build(**request.getfixturevalue(kind)), tmp_path / "device")
    assert folder == tmp_path / "device" / "birds-1.0"
    assert classify(folder, *images) == {"night": "dark", "noon": "süß & bright"}


def test_the_manifest_lists_all_files_and_inputs(openvino_inputs, tmp_path):
    returned = build_bundle(**openvino_inputs)
    folder = unpack_bundle(openvino_inputs["out"], tmp_path)
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    assert manifest == returned
    modules = (RUNTIME_FOLDER / "finch_runtime").rglob("*.py")
    package = {path.relative_to(RUNTIME_FOLDER).as_posix() for path in modules}
    listed = {"model.xml", "model.bin", "portable.onnx", "labels.txt", "requirements.txt"}
    listed |= {"LICENSE-DATA.txt", "README.md", "finch_runtime/LICENSE"} | package
    assert files_below(folder) == listed | {"manifest.json"}
    assert manifest["files"] == {path: sha256(folder / path) for path in sorted(listed)}

    assert manifest["format"] == 1
    version = metadata.version("finch-edge")
    assert (manifest["name"], manifest["created_by"]) == ("birds-1.0", f"finch {version}")
    assert manifest["model"] == {
        "path": "model.xml",
        "runtime": "openvino",
        "precision": "fp32",
        "batch": "dynamic",
    }
    assert manifest["portable"] == "portable.onnx"
    assert manifest["labels"] == list(LABELS)
    assert (folder / "labels.txt").read_text("utf-8").splitlines() == list(LABELS)
    assert {key: manifest[key] for key in RECORD} == RECORD
    assert (folder / "LICENSE-DATA.txt").read_text() == "Free for all.\n"
    project_license = RUNTIME_FOLDER.parents[1] / "LICENSE"
    assert (folder / "finch_runtime/LICENSE").read_bytes() == project_license.read_bytes()
    assert sha256(folder / "portable.onnx") == sha256(openvino_inputs["spec"].portable)


def test_the_contract_in_the_manifest_is_that_of_the_model(inputs, tmp_path):
    import onnxruntime

    folder = unpack_bundle(build(**inputs), tmp_path)
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    session = onnxruntime.InferenceSession(folder / manifest["model"]["path"])
    (given,) = session.get_inputs()
    assert (given.name, given.type) == (manifest["input"]["name"], "tensor(uint8)")
    assert given.shape[1:3] == [manifest["input"]["height"], manifest["input"]["width"]]
    assert {o.name: o.shape for o in session.get_outputs()} == {
        name: output["shape"] for name, output in manifest["outputs"].items()
    }


def test_requirements_are_packed(inputs, tmp_path):
    folder = unpack_bundle(build(**inputs), tmp_path)
    assert (folder / "requirements.txt").read_text() == inputs["spec"].requirements


def test_the_same_content_gives_the_same_bytes(inputs, tmp_path):
    """Time, folder, file modes, umask and Python's caches do not change the archive."""
    first = build(**inputs)
    runtime, model = tmp_path / "elsewhere", tmp_path / "other" / "model.onnx"
    shutil.copytree(RUNTIME_FOLDER / "finch_runtime", runtime / "finch_runtime")
    model.parent.mkdir()
    shutil.copy(inputs["spec"].files[0], model)
    cache = runtime / "finch_runtime" / "__pycache__"
    cache.mkdir(exist_ok=True)
    (cache / "left.cpython-311.pyc").write_bytes(b"over")
    for path in [model, *(runtime / "finch_runtime").glob("*.py")]:
        path.chmod(0o700)
        os.utime(path, (1, 1))
    mask = os.umask(0o077)
    try:
        second = build(
            **with_spec(inputs, files=[model], hashes={model: sha256(model)})
            | {"runtime_folder": runtime, "out": tmp_path / "renamed.tar.gz"}
        )
    finally:
        os.umask(mask)
    assert second.read_bytes() == first.read_bytes()


def test_members_are_sorted_and_have_no_owner(inputs):
    with tarfile.open(build(**inputs)) as tar:
        members = tar.getmembers()
    assert [m.name for m in members] == sorted(m.name for m in members)
    assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in members} == {
        (0, 0, 0, "", "", 0o644)
    }


def test_a_failed_build_keeps_the_old_archive(inputs):
    before = sha256(build(**inputs))
    broken = {**RECORD, "made_from": {"student": float("nan")}}
    with pytest.raises(ValueError, match="JSON"):
        build_bundle(**with_spec(inputs, record=broken))
    assert [sha256(path) for path in inputs["out"].parent.iterdir()] == [before]


@pytest.mark.parametrize("label", ["two\nlines", "", "  ", "line\u2028separator"])
def test_a_class_name_that_is_not_one_line_is_refused(inputs, label):
    with pytest.raises(DataError, match=r"^class .*(empty|line break)"):
        build_bundle(**with_spec(inputs, labels=("fine", label)))


def test_a_class_name_that_is_not_utf8_is_refused(inputs):
    label = b"Gr\xfcn".decode("utf-8", "surrogateescape")
    with pytest.raises(DataError, match=r"UTF-8.*rename") as caught:
        build_bundle(**with_spec(inputs, labels=("fine", label)))
    assert str(caught.value).isprintable()


def test_missing_parts_are_named(inputs, openvino_inputs, tmp_path):
    openvino_inputs["spec"].files[1].unlink()
    with pytest.raises(ArtifactError, match=r"model\.bin: cannot be read"):
        build_bundle(**openvino_inputs)
    with pytest.raises(ArtifactError, match=r"finch_runtime: .*__main__"):
        build_bundle(**inputs | {"runtime_folder": tmp_path})
    assert not inputs["out"].exists()


@pytest.mark.parametrize("name", ["model.xml", "model.bin", "model.onnx"])
@pytest.mark.parametrize("keep", [0, 100, -1])
def test_a_file_that_was_not_measured_is_refused(openvino_inputs, name, keep):
    spec = openvino_inputs["spec"]
    path = next(path for path in spec.hashes if path.name == name)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ArtifactError, match=f"{name}: is {sha256(path)[:12]}, .* not .*measured"):
        build_bundle(**openvino_inputs)
    assert not openvino_inputs["out"].exists()


@pytest.mark.parametrize("fraction", [0, 0.2, 0.7, 0.99, "all but one byte"])
def test_a_truncated_archive_is_refused_and_not_unpacked(inputs, tmp_path, fraction):
    archive = build(**inputs)
    content = archive.read_bytes()
    keep = len(content) - 1 if isinstance(fraction, str) else int(fraction * len(content))
    archive.write_bytes(content[:keep])
    target = tmp_path / "unpacked"
    with pytest.raises(ArtifactError, match="truncated, damaged"):
        unpack_bundle(archive, target)
    assert not target.exists()


def test_any_changed_byte_is_detected(inputs, tmp_path):
    archive = build(**inputs)
    content = archive.read_bytes()
    expected = contents(unpack_bundle(archive, tmp_path / "whole"))
    unnoticed = []
    # The content does not depend on the ten bytes of gzip's header.
    for place in np.linspace(10, len(content) - 1, 40).astype(int):
        archive.write_bytes(content[:place] + bytes([content[place] ^ 0x10]) + content[place + 1 :])
        try:
            unnoticed.append(unpack_bundle(archive, tmp_path / f"unpacked-{place}"))
        except ArtifactError:
            assert not (tmp_path / f"unpacked-{place}").exists()
    # Some bits of the compression have no effect: then the unpacked bytes are the same.
    assert len(unnoticed) <= 1
    assert all(contents(folder) == expected for folder in unnoticed)


def contents(folder):
    return {
        file.relative_to(folder): file.read_bytes() for file in folder.rglob("*") if file.is_file()
    }


def rewrite(archive, change):
    """Packs the archive again after ``change`` edited its list of (member, content)."""
    with tarfile.open(archive) as tar:
        members = [(m, tar.extractfile(m).read()) for m in tar.getmembers()]
    change(members)
    with tarfile.open(archive, "w:gz") as tar:
        for member, content in members:
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def swap(members, name, content):
    index = next(i for i, (m, _) in enumerate(members) if m.name.endswith(name))
    members[index] = (members[index][0], content)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda m: swap(m, "labels.txt", b"x\ny\n"), "labels.txt .*manifest"),
        (lambda m: m.append((tarfile.TarInfo("birds-1.0/more"), b"")), "more .*manifest"),
        (lambda m: m.pop(0), "does not match the manifest"),
        (
            lambda m: m.append((tarfile.TarInfo("other/file"), b"")),
            "no folder with a manifest.json",
        ),
        (lambda m: swap(m, "manifest.json", b"{}"), "manifest.json .*format 1"),
        (lambda m: swap(m, "manifest.json", b"[1"), "manifest.json .*format 1"),
        (lambda m: m.clear(), "no folder with a manifest.json"),
    ],
)
def test_an_archive_that_does_not_match_its_manifest_is_refused(inputs, tmp_path, change, expected):
    archive = build(**inputs)
    rewrite(archive, change)
    with pytest.raises(ArtifactError, match=expected):
        unpack_bundle(archive, tmp_path / "unpacked")
    assert not (tmp_path / "unpacked").exists()


@pytest.mark.parametrize("name", ["../out", "birds-1.0/../../out", "/tmp/out", "birds-1.0\\out"])
def test_a_path_outside_of_the_folder_is_refused(inputs, tmp_path, name):
    archive = build(**inputs)
    rewrite(archive, lambda members: members.append((tarfile.TarInfo(name), b"")))
    with pytest.raises(ArtifactError, match="not a plain file"):
        unpack_bundle(archive, tmp_path / "unpacked")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(inputs, tmp_path, kind):
    archive = build(**inputs)
    member = tarfile.TarInfo("birds-1.0/link")
    member.type, member.linkname = kind, "birds-1.0/labels.txt"
    rewrite(archive, lambda members: members.append((member, b"")))
    with pytest.raises(ArtifactError, match=r"birds-1\.0/link .*not a plain file"):
        unpack_bundle(archive, tmp_path / "unpacked")


def test_unpacking_overwrites_nothing(inputs, tmp_path):
    archive = build(**inputs)
    kept = tmp_path / "birds-1.0" / "mine.txt"
    kept.parent.mkdir()
    kept.write_text("mine")
    with pytest.raises(ArtifactError, match=r"birds-1\.0: .*exists"):
        unpack_bundle(archive, tmp_path)
    assert files_below(kept.parent) == {"mine.txt"}


def test_the_error_for_a_missing_archive_has_the_stage_to_run(tmp_path):
    with pytest.raises(ArtifactError, match=r"none\.tar\.gz: .*missing.*finch bundle"):
        unpack_bundle(tmp_path / "none.tar.gz", tmp_path)
