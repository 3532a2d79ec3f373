"""What leaves the machine names no local path, host or user."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tarfile
from datetime import datetime
from pathlib import Path

import pytest
import timm
import yaml
from PIL import Image
from safetensors.torch import save_file

from pipeline.params.loading import load_params
from tests.exif_images import exif_of
from tests.small_project import CLASSES, PROJECT, small_params, write_photos

DAY, SERIAL = datetime(2019, 8, 7, 12), "serial-secret-7733"
USER, FOLDER, HOST = "alice-b-secret", "clients-secret-project", "host-secret.example"

STAGES = (
    *("resolve", "inputs", "prepare", "finetune", "cache_logits", "distill", "export", "qat"),
    *("quantize", "probe", "evaluate", "bundle", "verify", "report"),
)

# The stages are forked from a process that has imported the libraries.
RUN = """
import sys
from pathlib import Path
from tests.stage_process import StageProcesses, last_line
stages = StageProcesses()
for stage in sys.argv[2:]:
    ended = stages.run(Path(sys.argv[1]), stage)
    if ended.returncode:
        sys.exit(f"{stage}: {last_line(ended)}")
"""


def write_project(folder: Path) -> Path:
    """A project whose parameters name local files and hosts wherever they can."""
    local = folder / "local"
    write_photos(local / "photos", per_class=16)
    for path in (local / "photos").rglob("*.png"):
        with Image.open(path) as image:
            image.save(path, exif=exif_of(DAY, model="Camera secret", serial=SERIAL))
    params = small_params(local / "photos")
    save_file(timm.create_model("test_efficientnet").state_dict(), local / "weights.safetensors")
    (local / "order.txt").write_text("".join(f"{name}\n" for name in CLASSES))
    weights = {"pretrained": "file", "weights": str(local / "weights.safetensors"), "epochs": 1}
    params["finetune"] |= weights
    params["distill"] |= weights
    params["distill"]["class_order"] = {"kind": "file", "file": str(local / "order.txt")}
    params["prepare"]["group_by"] = f"(?:{FOLDER})?([0-9]+)"
    params["evaluate"]["devices"] = [
        {"name": "local"},
        {"name": "board", "host": f"{USER}@{HOST}", "folder": f"/home/{USER}/{FOLDER}"},
    ]
    params["quantize"]["mixed_precision"] = {"enabled": False}
    params["quantize"]["candidates"] = [
        {"name": "ort", "runtime": "onnxruntime", "precision": "fp32"},
        {"name": "ort-int8", "runtime": "onnxruntime", "precision": "int8"},
        {"name": "ov-int8", "runtime": "openvino", "precision": "int8"},
    ]
    project = folder / "project"
    project.mkdir()
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    (project / "deploy").symlink_to(PROJECT / "deploy")
    return project


def write_ssh(folder: Path) -> Path:
    """An SSH client that cannot reach the device, and says so with its name."""
    folder.mkdir()
    (folder / "ssh").write_text(
        f"#!/bin/sh\necho 'ssh: {USER}@{HOST}: Name or service not known' >&2\nexit 255\n"
    )
    (folder / "ssh").chmod(0o755)
    return folder


# Of this machine, for its user: the effective parameters, and why a device cannot be reached.
STAY = {"params.yaml", "hosts.json"}


def files_that_leave(project: Path) -> dict[str, bytes]:
    """The bundle's files, the models and the reports, by name."""
    found = {}
    with tarfile.open(next((project / "dist").glob("*.tar.gz"))) as archive:
        for member in archive:
            content = archive.extractfile(member)
            assert content is not None
            found[f"{member.name} in the bundle"] = content.read()
    for folder in ("dist", "reports", "models/candidates", "models/onnx"):
        for path in (project / folder).rglob("*"):
            if path.is_file() and path.name not in STAY and path.suffix != ".gz":
                found[path.relative_to(project).as_posix()] = path.read_bytes()
    return found


@pytest.mark.slow
def test_bundle_and_reports_name_no_path_host_or_user(tmp_path: Path) -> None:
    home = tmp_path / "home" / USER
    project = write_project(home / FOLDER)
    ssh = write_ssh(tmp_path / "bin")
    hidden = {"HOME": str(home), "USER": USER, "LOGNAME": USER, "HOSTNAME": HOST}
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(project), *STAGES],
        cwd=PROJECT,
        env=os.environ | hidden | {"PATH": f"{ssh}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert load_params(project / "params.yaml", []).distill.weights, "paths were set"

    secrets = [SERIAL, "Camera secret", f"{DAY:%Y:%m:%d}", f"{DAY:%Y-%m-%d}"]
    secrets += [USER, FOLDER, HOST, str(tmp_path), str(PROJECT), sys.prefix, str(Path.home())]
    if len(socket.gethostname()) > 5:
        secrets.append(socket.gethostname())
    files = files_that_leave(project)
    assert {"reports/index.html", "reports/audit.html", "dist/manifest.json"} <= files.keys()
    models = ("model.onnx in the bundle", "model.xml in the bundle")
    assert any(name.endswith(models) for name in files)
    told = [
        f"{name} tells {secret}"
        for name, content in files.items()
        for secret in secrets
        if secret.encode() in content or secret.encode("utf-16-le") in content
    ]
    assert told == []
