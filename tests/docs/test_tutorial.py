"""docs/tutorial.md: its commands, on small drawn images."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from pipeline.params.editing import merged
from tests.small_project import CLASSES, PROJECT, small_params, write_photos

PAGE = (PROJECT / "docs/tutorial.md").read_text("utf-8")
# A code block, with the comment above it that says where or why not it is run.
BLOCKS = re.findall(r"(?:<!-- ([^\n]+) -->\n)?```(sh|yaml)\n(.*?)```", PAGE, re.DOTALL)


def commands(remark: str) -> str:
    """The commands with a remark, one shell script."""
    return "".join(text for found, language, text in BLOCKS if (found, language) == (remark, "sh"))


def tiny(params: dict[str, Any]) -> dict[str, Any]:
    """The same parameters with small networks, few epochs and short measurements."""
    small = small_params(Path("photos"))
    sections = {name: small[name] for name in ("run", "evaluate", "bundle")}
    training = {"epochs": 1, "batch_size": 16, "steps": {"min": 1, "max": 100}}
    network = {"model": "test_efficientnet", "pretrained": "none", "image_size": None, **training}
    sections |= {"prepare": {"image_size": 32}, "cache_logits": {"views": 1}}
    names = {"onnxruntime-fp32", "openvino-fp16-b1"}
    candidates = [each for each in params["quantize"]["candidates"] if each["name"] in names]
    sections["quantize"] = {"candidates": candidates, "mixed_precision": {"enabled": False}}
    return merged(params, sections | {"finetune": network, "distill": network})


def run(script: str, folder: Path, home: Path) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = os.environ | {"PATH": path, "HOME": str(home), "DVC_SITE_CACHE_DIR": str(home / "dvc")}
    done = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", script],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What `git clone` gives, with photographs in it."""
    listed = subprocess.check_output(["git", "ls-files", "-z"], cwd=PROJECT, text=True)
    for name in filter(None, listed.split("\0")):
        if not name.startswith("tests/") and (PROJECT / name).is_file():
            (tmp_path / "finch" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT / name, tmp_path / "finch" / name)
    git = "git -c user.name=t -c user.email=t@example.org"
    run(f"git init -q && git add -A && {git} commit -qm start", tmp_path / "finch", tmp_path)
    write_photos(tmp_path / "finch/photos", per_class=20)
    return tmp_path / "finch"


@pytest.mark.slow
def test_the_commands_lead_from_photographs_to_answers_on_the_device(
    clone: Path, tmp_path: Path
) -> None:
    own, on_device = [yaml.safe_load(text) for _, language, text in BLOCKS if language == "yaml"]
    assert on_device["bundle"]["device"] in [
        each["name"] for each in on_device["evaluate"]["devices"]
    ]
    params = merged(yaml.safe_load((clone / "params.yaml").read_text("utf-8")), own)
    (clone / "params.yaml").write_text(yaml.safe_dump(tiny(params), sort_keys=False), "utf-8")

    # `finch doctor` exits with 1 if anything is missing, which depends on the machine.
    printed = run(commands("").replace("finch doctor", "finch doctor || true"), clone, tmp_path)
    for command in ("finch prepare", "dvc repro", "finch predict", "finch replay"):
        assert command in commands("")
    assert "test_accuracy" in printed
    for page in ("audit", "inspect", "index"):
        assert (clone / f"reports/{page}.html").is_file()

    device = tmp_path / "device"
    device.mkdir()
    shutil.copy2(clone / "dist/finch-student.tar.gz", device)
    with Image.open(next((clone / "photos/ring").iterdir())) as image:
        image.save(device / "PHOTO.jpg")
    answer = run(commands("on the device"), device, tmp_path)
    assert any(name in answer for name in CLASSES) and "p50" in answer
