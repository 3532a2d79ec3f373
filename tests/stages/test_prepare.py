"""`finch prepare` and `finch inspect` as commands."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.damaged_images import KINDS, encode, write_damaged
from tests.small_project import CLASSES, set_param, write_photos
from tests.stage_process import StageProcesses


def call(stage: str, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return StageProcesses().run(folder, stage, *arguments)


def packed(project: Path) -> dict[str, str]:
    folder = project / "data/prepared"
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_damaged_files_are_listed_and_skipped(project: Path, tmp_path: Path) -> None:
    damaged = [
        path for kind in KINDS for path in write_damaged(tmp_path / "photos" / CLASSES[0], kind)
    ]
    assert len(damaged) >= 200

    done = call("prepare", folder=project)
    assert done.returncode == 1, done.stderr
    assert f"{len(damaged)} of {len(damaged) + 96} images" in done.stderr
    assert "prepare.on_bad" in done.stderr
    assert not (project / "data/prepared").exists()
    listed = json.loads((project / "reports/audit.json").read_text())["bad"]
    assert {Path(bad["name"]).name for bad in listed} == {path.name for path in damaged}

    skip = ("--set", "prepare.on_bad=skip")
    done = call("prepare", *skip, folder=project)
    assert done.returncode == 1, done.stderr
    assert f"class '{CLASSES[0]}'" in done.stderr and "prepare.max_loss" in done.stderr
    assert not (project / "data/prepared").exists()

    done = call("prepare", *skip, "--set", "prepare.max_loss=1", folder=project)
    assert done.returncode == 0, done.stderr
    audit = json.loads((project / "reports/audit.json").read_text())
    assert audit["bad"] == listed
    names = "".join(p.read_text() for p in (project / "data/prepared").glob("*/names.txt"))
    assert len(names.splitlines()) == 96
    assert not any(path.name in names for path in damaged)
    page = (project / "reports/audit.html").read_text()
    assert listed[0]["name"] in page

    skipped = packed(project)
    for path in damaged:
        path.unlink()
    assert call("prepare", folder=project).returncode == 0
    clean = packed(project)
    assert {k: v for k, v in skipped.items() if k != "dataset.json"} == {
        k: v for k, v in clean.items() if k != "dataset.json"
    }, "unusable files change the result for the others"


@pytest.mark.slow
def test_every_file_below_the_folder_is_accounted_for(project: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    first = photos / CLASSES[0]
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8))
    read = {f"new{suffix}": form for suffix, form in ((".heic", "HEIF"), (".AVIF", "AVIF"))}
    for name, form in read.items():
        (first / name).write_bytes(encode(image, form))
        image = image.rotate(90)
    (first / "png.jpg").write_bytes(encode(image, "PNG"))
    (first / "raw.NEF").write_bytes(b"raw")
    (photos / "drawing.svg").write_text("<svg/>")
    for number in range(30):
        (first / f"{number:03}.xml").write_text("<annotation/>")

    done = call("prepare", folder=project)
    assert done.returncode == 0, done.stderr
    for words in ("found 99 images", "1 .nef", "1 .svg", "30 .xml", f"{CLASSES[0]}/raw.NEF"):
        assert words in done.stderr
    assert "png.jpg" in done.stderr
    names = "".join(p.read_text() for p in (project / "data/prepared").glob("*/names.txt"))
    assert all(f"{CLASSES[0]}/{name}\n" in names for name in (*read, "png.jpg"))
    audit = json.loads((project / "reports/audit.json").read_text())
    assert {kind["suffix"]: kind["files"] for kind in audit["passed_over"]} == {
        ".nef": 1,
        ".svg": 1,
        ".xml": 30,
    }
    assert [Path(file["name"]).name for file in audit["other_format"]] == ["png.jpg"]
    counts = audit["counts"]
    assert (counts["unread"], counts["other_files"], counts["other_format"]) == (2, 30, 1)
    page = (project / "reports/audit.html").read_text()
    assert all(words in page for words in (".nef", ".svg", ".xml", "png.jpg"))
    assert call("inspect", "--views", "2", folder=project).returncode == 0

    for number in range(3):
        (first / f"raw{number}.NEF").write_bytes(b"raw")
    done = call("prepare", folder=project)
    assert done.returncode == 1
    assert f"class '{CLASSES[0]}'" in done.stderr
    assert "4 .nef" in done.stderr and "prepare.max_loss" in done.stderr


def test_a_class_in_a_format_that_is_not_read_is_named_with_the_format(
    project: Path, tmp_path: Path
) -> None:
    for number, path in enumerate(sorted((tmp_path / "photos" / CLASSES[1]).iterdir())):
        path.rename(path.with_name(f"{number}.CR2"))
    done = call("prepare", folder=project)
    assert done.returncode == 1
    assert f"class '{CLASSES[1]}'" in done.stderr and "24 .cr2" in done.stderr


@pytest.mark.slow
def test_names_that_a_terminal_would_execute_are_escaped(project: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photos" / CLASSES[0]
    (folder / "\x1b[2J.jpg").write_bytes(next(folder.glob("*.png")).read_bytes())
    (folder / "\x1b[2Jraw.nef").write_bytes(b"raw")
    (folder / f"{'n' * 240}.xml").write_bytes(b"<annotation/>")
    os.close(os.open(os.fsencode(folder) + b"/\xff\xfe.txt", os.O_CREAT | os.O_WRONLY))
    done = call("prepare", "--set", "prepare.allow_leakage=true", folder=project)
    assert done.returncode == 0, done.stderr
    for text in (done.stderr, (project / "reports/audit.html").read_text()):
        assert "\x1b" not in text
        assert r"\x1b[2J" in text
    assert json.loads((project / "reports/audit.json").read_text())["counts"]["other_files"] == 2


def test_copies_across_splits(project: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos" / CLASSES[1]
    for number in range(24):
        shutil.copy(photos / f"{number:03}.png", photos / f"copy{number:03}.png")
    done = call("prepare", "--set", "prepare.split=random", folder=project)
    assert done.returncode == 1, done.stderr
    assert "more than one split" in done.stderr
    assert not (project / "data/prepared").exists()
    audit = json.loads((project / "reports/audit.json").read_text())
    assert audit["counts"]["exact_duplicates"]["found"] == 24

    allowed = ("--set", "prepare.split=random", "--set", "prepare.allow_leakage=true")
    done = call("prepare", *allowed, folder=project)
    assert done.returncode == 0, done.stderr
    assert "exact duplicates: 24 groups of copies" in done.stderr
    group_of: dict[str, int] = {}
    for folder in (project / "data/prepared").glob("*/"):
        names = (folder / "names.txt").read_text().splitlines()
        group_of |= zip(names, np.load(folder / "groups.npy").tolist(), strict=True)
    assert len(group_of) == 96 + 24
    for name, group in group_of.items():
        assert group == group_of[name.replace("copy", "")], "a copy is parted from its original"
    assert len(set(group_of.values())) > 80


def test_a_run_killed_while_decoding_resumes_to_the_same_bytes(
    project: Path, tmp_path: Path
) -> None:
    shutil.rmtree(tmp_path / "photos")
    write_photos(tmp_path / "photos", per_class=300)
    work = project / ".finch/prepare"
    line = [sys.executable, "-m", "stages.prepare", "--set", "prepare.workers=1"]
    process = subprocess.Popen(line, cwd=project, stderr=subprocess.DEVNULL)
    while not list(work.glob("*/*.npz")):
        assert process.poll() is None
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (project / "data/prepared").exists()
    kept = {path: path.stat().st_ino for path in work.glob("*/[0-9]*.npz")}
    assert kept

    done = call("prepare", "--set", "prepare.workers=2", folder=project)
    assert done.returncode == 0, done.stderr
    assert not list(work.iterdir())
    resumed = packed(project)
    assert call("prepare", "--set", "prepare.workers=1", folder=project).returncode == 0
    assert packed(project) == resumed


def test_inspect_shows_views_and_counts(project: Path) -> None:
    assert call("prepare", folder=project).returncode == 0
    done = call("inspect", "--views", "3", folder=project)
    assert done.returncode == 0, done.stderr
    page = (project / "reports/inspect.html").read_text()
    assert "Confusions of the teacher" not in page
    assert page.count("data:image/webp") == len(CLASSES)
    labels = np.load(project / "data/prepared/train/labels.npy")
    for label, name in enumerate(sorted(CLASSES)):
        row = next(line for line in done.stdout.splitlines() if name in line)
        assert f" {np.sum(labels == label)} " in row


@pytest.mark.slow
def test_inspect_shows_the_confusions_of_the_teacher(project: Path) -> None:
    set_param(project, "finetune.epochs", 1)
    for stage in ("prepare", "finetune"):
        assert call(stage, folder=project).returncode == 0
    done = call("inspect", folder=project)
    assert done.returncode == 0, done.stderr
    assert "Confusions of the teacher" in (project / "reports/inspect.html").read_text()

    assert call("prepare", "--set", "prepare.seed=1", folder=project).returncode == 0
    other = call("inspect", folder=project)
    assert other.returncode == 0
    assert "trained on other data" in other.stderr


@pytest.mark.slow
@pytest.mark.parametrize("size", ["60k", "304k"])
def test_a_full_disk_is_named_and_the_earlier_data_stays(
    project: Path, tmp_path: Path, size: str
) -> None:
    script = f"mount -t tmpfs -o size={size} tmpfs data && exec {sys.executable} -m stages.prepare"
    try:
        subprocess.run(["unshare", "-rm", "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this user cannot mount a small file system")
    (project / "data").mkdir()
    mounted = ["unshare", "-rm", "sh", "-c", script]
    done = subprocess.run(mounted, cwd=project, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    *_, line = done.stderr.splitlines()
    assert "finch prepare:" in line
    assert "data: no room" in line
    assert "left" in line


@pytest.mark.timeout(60)
def test_a_pipe_among_the_images_is_refused(project: Path, tmp_path: Path) -> None:
    folder = next(path for path in (tmp_path / "photos").iterdir() if path.is_dir())
    os.mkfifo(folder / "pipe.png")
    done = call("prepare", folder=project)
    assert done.returncode == 1
    assert "pipe.png: is not a file" in done.stderr
