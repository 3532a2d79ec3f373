"""`finch prepare` on photographs of several days, visits and cameras."""

from __future__ import annotations

import json
import shutil
import subprocess
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from tests.exif_images import exif_of
from tests.small_project import CLASSES, draw_photo, set_param
from tests.stage_process import StageProcesses

SERIAL = "SN-77310042"
SECRETS = (SERIAL, "2021:03:04", "2021-03-04", "Phone")
DAYS = [datetime(2021, 3, 4) + timedelta(days=9 * day) for day in range(8)]


def prepare(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return StageProcesses().run(project, "prepare", *arguments)


def write_visits(folder: Path) -> dict[str, datetime]:
    """Every class on every day, three images each, shuffled names; returns the day of each name."""
    shutil.rmtree(folder)
    rng = np.random.default_rng(0)
    day_of = {}
    for kind in CLASSES:
        (folder / kind).mkdir(parents=True)
        names = iter(rng.permutation(3 * len(DAYS)).tolist())
        for day in DAYS:
            for minute in range(3):
                path = folder / kind / f"{next(names):03}.jpg"
                exif = exif_of(
                    day + timedelta(hours=10, minutes=minute), model="Phone", serial=SERIAL
                )
                draw_photo(kind, rng).save(path, exif=exif)
                day_of[f"{kind}/{path.name}"] = day
    return day_of


@pytest.fixture
def visits(project: Path, tmp_path: Path) -> dict[str, datetime]:
    return write_visits(tmp_path / "photos")


def days_by_split(project: Path, day_of: dict[str, datetime]) -> list[set[datetime]]:
    files = sorted((project / "data/prepared").glob("*/names.txt"))
    return [{day_of[name] for name in file.read_text().splitlines()} for file in files]


def texts_of(project: Path) -> bytes:
    """All bytes that the stage wrote."""
    folders = (project / "data", project / "reports")
    return b"".join(p.read_bytes() for f in folders for p in sorted(f.rglob("*")) if p.is_file())


def test_days_of_exif_data_are_kept_together(project: Path, visits: dict[str, datetime]) -> None:
    set_param(project, "prepare.group_by", "capture_day")
    done = prepare(project)
    assert done.returncode == 0, done.stderr
    train, val, test = days_by_split(project, visits)
    assert train and val and test
    assert not (train & val or train & test or val & test), "a day is in two splits"
    written = texts_of(project)
    for secret in SECRETS:
        assert secret.encode() not in written


def test_a_split_that_parts_days_is_warned_of_with_what_to_write(
    project: Path, visits: dict[str, datetime]
) -> None:
    done = prepare(project)
    assert done.returncode == 0, done.stderr
    train, val, test = days_by_split(project, visits)
    assert train & val and train & test
    (line,) = [line for line in done.stderr.splitlines() if "flatter" in line]
    assert "set prepare.group_by: capture_day" in line
    audit = json.loads((project / "reports/audit.json").read_text())
    sessions = audit["counts"]["sessions"]
    assert (sessions["found"], sessions["days"]) == (len(DAYS), len(DAYS))
    dataset = json.loads((project / "data/prepared/dataset.json").read_text())
    assert dataset["audit"]["sessions"] == sessions
    written = texts_of(project)
    for secret in SECRETS:
        assert secret.encode() not in written


def test_one_camera_cannot_be_split(project: Path, visits: dict[str, datetime]) -> None:
    set_param(project, "prepare.group_by", "camera")
    done = prepare(project)
    assert done.returncode == 1
    assert "prepare.group_by, of which it has 1" in done.stderr
    assert json.loads((project / "reports/audit.json").read_text())["counts"]["photographs"] == 96


def test_photographs_without_exif_data_have_no_days(project: Path) -> None:
    set_param(project, "prepare.group_by", "capture_day")
    done = prepare(project)
    assert done.returncode == 1
    assert "96 of 96 images have no capture time" in done.stderr
    assert "prepare.group_by: folder" in done.stderr
