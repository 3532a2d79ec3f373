"""The README of a bundle, and the commit that it names."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.files import read_json
from pipeline.shipping.bundle import build_bundle, unpack_bundle
from pipeline.shipping.readme import Commit, read_commit
from tests.pipeline.shipping.brightness import SIZE, bundle_spec, write_onnx
from tests.small_project import PROJECT

COMMIT = Commit("0123456789abcdef" * 2, "2026-05-04")


def unpack(folder: Path, commit: Commit | None) -> Path:
    write_onnx(folder / "model.onnx")
    spec = bundle_spec(folder / "model.onnx", commit=commit, data_license="Free for all.\n")
    build_bundle(spec, PROJECT / "deploy/python", folder / "bundle.tar.gz")
    return unpack_bundle(folder / "bundle.tar.gz", folder / "device")


def test_the_second_command_of_the_readme_classifies_a_photograph(tmp_path: Path) -> None:
    bundle = unpack(tmp_path, COMMIT)
    Image.fromarray(np.full((SIZE, SIZE, 3), 240, np.uint8)).save(bundle / "PHOTO.jpg")
    text = (bundle / "README.md").read_text("utf-8")
    install, classify = re.findall(r"^    (.*)$", text, re.MULTILINE)
    assert install.endswith("-r requirements.txt") and (bundle / "requirements.txt").is_file()
    words = [sys.executable if w == "env/bin/python" else w for w in shlex.split(classify)]
    done = subprocess.run(words, cwd=bundle, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "bright" in done.stdout.splitlines()[0]
    for name in re.findall(r"`([\w./-]+(?:\.txt|\.json|/LICENSE))`", text):
        assert (bundle / name).is_file()


def test_readme_and_manifest_name_the_commit_if_there_is_one(tmp_path: Path) -> None:
    bundle = unpack(tmp_path / "a", COMMIT)
    assert "commit 0123456789ab of 2026-05-04" in (bundle / "README.md").read_text("utf-8")
    assert read_json(bundle / "manifest.json")["commit"] == vars(COMMIT)
    bundle = unpack(tmp_path / "b", None)
    assert "commit" not in (bundle / "README.md").read_text("utf-8")
    assert read_json(bundle / "manifest.json")["commit"] is None


def test_the_commit_of_a_folder(tmp_path: Path) -> None:
    assert read_commit(tmp_path) is None
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-C", str(tmp_path)]
    subprocess.run([*git, "init", "-q"], check=True)
    assert read_commit(tmp_path) is None
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "start"], check=True)
    found = read_commit(tmp_path)
    assert found is not None
    assert re.fullmatch("[0-9a-f]{40,64}", found.commit)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", found.date)
