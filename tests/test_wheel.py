"""The wheel, built, checked and installed, in a folder that has nothing of the clone."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import venv
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from PIL import Image

from pipeline.params.editing import changed
from stages.app import STAGES
from tests.small_project import CLASSES, PROJECT, write_photos

TINY = {
    "run": {"device": "cpu", "threads": 1},
    "prepare": {"image_size": 32},
    "finetune": {
        "model": "test_efficientnet", "pretrained": "none",
        "epochs": 1, "batch_size": 16, "steps": {"min": 1}, "lr": 0.01,
    },
    "cache_logits": {"views": 2},
    "distill": {
        "model": "test_efficientnet", "pretrained": "none",
        "epochs": 1, "batch_size": 16, "steps": {"min": 1}, "lr": 0.01,
    },
    "quantize": {
        "calibration_images": 24,
        "candidates": [
            {"name": "onnxruntime-fp32", "runtime": "onnxruntime", "precision": "fp32"},
            {"name": "openvino-int8", "runtime": "openvino", "precision": "int8"},
        ],
    },
    "evaluate": {
        "rounds": 3, "max_rounds": 3, "turns": 3, "runs": 3,
        "warmup": 2, "warmup_seconds": 0.0, "batches": [1, 2],
    },
    # Selection must not depend on the accuracy of a network that is hardly trained.
    "bundle": {"max_drop": 100.0, "max_drop_bound": 100.0},
}  # fmt: skip


class Installed:
    """An environment with the wheel, and the packages of this one as its dependencies."""

    def __init__(self, wheel: Path, tmp_path: Path) -> None:
        environment = tmp_path / "env"
        venv.create(environment, with_pip=False, symlinks=True)
        self.bin = environment / "bin"
        (self.packages,) = environment.glob("lib/python*/site-packages")
        # Files named .pth are not followed from there, so that an editable Finch is not found.
        (self.packages / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
        install = ["install", "--quiet", "--no-deps", "--no-index", str(wheel)]
        self.run(sys.executable, "-m", "pip", "--python", str(self.bin / "python"), *install,
                 cwd=tmp_path)  # fmt: skip
        home = tmp_path / "home"
        home.mkdir()
        self.env = self._without("PYTHON", "XDG_", "GIT_") | {
            "PATH": os.pathsep.join(
                (str(self.bin), str(Path(sys.executable).parent), os.environ["PATH"])
            ),
            "HOME": str(home),
            "PYTHONDONTWRITEBYTECODE": "1",
            "DVC_SITE_CACHE_DIR": str(tmp_path / "site_cache"),
        }

    env: dict[str, str] | None = None

    @staticmethod
    def _without(*starts: str) -> dict[str, str]:
        return {key: value for key, value in os.environ.items() if not key.startswith(starts)}

    def run(self, *command: str, cwd: Path) -> str:
        done = subprocess.run(
            command, cwd=cwd, env=self.env or self._without("PYTHONPATH"),
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def repro(self, project: Path) -> set[str]:
        """Runs `dvc repro`; returns the stages that were executed."""
        return set(re.findall(r"Running stage '(\w+)'", self.run("dvc", "repro", cwd=project)))


def newcomer_commands() -> tuple[list[str], list[str], list[str]]:
    """README on own images: what installs Finch, what makes a bundle, and what runs it."""
    section = (PROJECT / "README.md").read_text().split("## Your images")[1]
    own, on_device = re.findall(r"```sh\n(.*?)\n```", section, re.DOTALL)[:2]
    commands = own.splitlines()
    return commands[:2], commands[2:], on_device.splitlines()


def test_a_newcomer_needs_at_most_twelve_commands() -> None:
    lines = [line.split("#")[0] for part in newcomer_commands() for line in part]
    assert sum(line.count("&&") + 1 for line in lines) + 1 <= 12, "with the copy to the device"


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The source distribution and, built from that, the wheel; by suffix."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("built")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(PROJECT / name, source)
    for name in ("pipeline", "stages", "deploy"):
        shutil.copytree(PROJECT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(built), str(source)]
    subprocess.run(build, check=True, capture_output=True)
    return {path.suffix: path for path in built.iterdir()}


@pytest.mark.slow
def test_the_package_index_would_accept_the_distributions(distributions: dict[str, Path]) -> None:
    check = [sys.executable, "-m", "twine", "check", "--strict", *distributions.values()]
    done = subprocess.run(check, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_project_of_the_installed_wheel(distributions: dict[str, Path], tmp_path: Path) -> None:
    finch = Installed(distributions[".whl"], tmp_path)
    work = tmp_path / "work"
    write_photos(work / "photos", per_class=24)
    places = "import pipeline, stages, finch_runtime as r; print(pipeline, stages, r)"
    found = finch.run(str(finch.bin / "python"), "-c", places, cwd=work)
    assert found.count(str(finch.packages)) == 3
    assert metadata.version("finch-edge") in finch.run("finch", "--version", cwd=work)

    _, (init, repro), on_device = newcomer_commands()
    looked = finch.run(*shlex.split(init, comments=True), cwd=work)
    assert all(re.search(rf"{name} +24\b", looked) for name in CLASSES)
    project = work / "birds"
    params = project / "params.yaml"
    params.write_text(changed(params.read_text(), TINY))
    assert repro.startswith("cd birds && dvc repro")
    assert finch.repro(project) == {*STAGES, "code"}
    assert "test_accuracy" in finch.run("dvc", "metrics", "show", cwd=project)

    device = tmp_path / "device"
    device.mkdir()
    shutil.copy(project / "dist/birds.tar.gz", device)
    photo = next((work / "photos" / CLASSES[0]).iterdir())
    with Image.open(photo) as image:
        (device / "birds").mkdir()
        image.save(device / "birds/photo.jpg")
    answer = finch.run("bash", "-ec", "\n".join(on_device), cwd=device)
    assert any(name in answer for name in CLASSES)
    packages = finch.run("env/bin/python", "-m", "pip", "list", cwd=device / "birds")
    assert "onnxruntime" in packages or "openvino" in packages
    assert "torch" not in packages

    # Another version, in which one stage is different.
    always = {name for name, stage in _stages(project).items() if stage.get("always_changed")}
    (finch.packages / "pipeline/report/metrics.py").open("a").write("\n")
    assert finch.repro(project) == {*always, "report"}


def _stages(project: Path) -> dict[str, dict[str, object]]:
    stages: dict[str, dict[str, object]] = yaml.safe_load((project / "dvc.yaml").read_text())
    return stages["stages"]  # type: ignore[return-value]
