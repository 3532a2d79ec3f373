import re
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pytest
from PIL import Image

from pipeline.data.audit import count_findings, examine, report
from pipeline.data.decoding import decode
from pipeline.data.session_advice import remark_on_sessions
from pipeline.data.sources import read_source
from pipeline.data.split import split_dataset
from pipeline.params import Prepare
from pipeline.report.audit_page import render_audit
from tests.exif_images import exif_of

START = datetime(2021, 3, 4, 10)


def write(root, names, days):
    """An image per name; those of one day show the day's scene under noise."""
    rng = np.random.default_rng(0)
    scenes = rng.integers(0, 256, (max(days, default=0) + 1, 6, 6, 3), dtype=np.uint8)
    for minute, (name, day) in enumerate(zip(names, days, strict=True)):
        scene = np.asarray(Image.fromarray(scenes[day]).resize((48, 48)), np.int16)
        noise = rng.integers(-60, 60, scene.shape)
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        taken = START + timedelta(days=9 * day, minutes=minute % 25)
        exif = exif_of(taken) if path.suffix == ".jpg" else None
        image = Image.fromarray((scene + noise).clip(0, 255).astype(np.uint8))
        image.save(path, **({"exif": exif} if exif else {}))


@pytest.fixture
def audit_of(tmp_path):
    """Reads, decodes and splits the images of a folder as the stage does."""

    def run(**params):
        prepare = Prepare(
            **{"source": "folder", "path": str(tmp_path / "photos"), "block": 3} | params
        )
        dataset = read_source(prepare)
        work = tmp_path / "work"
        decoded = decode(dataset.samples, work, image_size=32, fit="crop", workers=1)
        audit = examine(dataset, decoded, near_distance=0)
        return replace(audit, splits=split_dataset(dataset, prepare)), prepare

    return run


def visits(days, form="{kind}/{number:03}.jpg"):
    """Two classes, four images of each on every day, in an order that mixes the days."""
    rng = np.random.default_rng(1)
    names, day_of = [], []
    for kind in ("robin", "wren"):
        shots = rng.permutation(np.repeat(np.arange(days), 4)).tolist()
        names += [form.format(kind=kind, number=n, day=day) for n, day in enumerate(shots)]
        day_of += shots
    return names, day_of


def test_the_remark_counts_the_shared_images_and_says_what_to_write(tmp_path, audit_of):
    names, days = visits(8)
    write(tmp_path / "photos", names, days)
    audit, prepare = audit_of()
    remark = remark_on_sessions(audit, prepare)

    day_of = dict(zip(names, days, strict=True))
    day = {
        split: [day_of[audit.usable.samples[i].name] for i in indices]
        for split, indices in audit.splits.items()
    }
    for split, title in (("val", "validation"), ("test", "test")):
        shared = sum(each in day["train"] for each in day[split])
        assert f"{shared} of {len(day[split])} {title} images" in remark
    assert "likely to flatter" in remark
    assert re.search(r"for \d+% of these validation .*\(\d+% by chance\)", remark)
    assert "set prepare.group_by: capture_day" in remark
    assert "fails" not in remark and "\n" not in remark


def test_one_day_says_that_the_remedy_needs_further_days(tmp_path, audit_of):
    write(tmp_path / "photos", *visits(1))
    remark = remark_on_sessions(*audit_of(block=1))
    assert "prepare.group_by: capture_day, which now fails: class 'robin'" in remark


def test_folders_are_conditional_and_their_value_is_named(tmp_path, audit_of):
    names, days = visits(8, "{kind}/{kind} {day}/{number:03}.png")
    write(tmp_path / "photos", names, days)
    audit, prepare = audit_of(split="random")
    remark = remark_on_sessions(audit, prepare)
    assert "may flatter" in remark and "if each folder" in remark
    assert "set prepare.group_by: folder" in remark
    grouped, followed = audit_of(split="random", group_by="folder")
    assert grouped.shared_sessions["val"].shared == grouped.shared_sessions["test"].shared == 0
    assert remark_on_sessions(grouped, followed) == ""


def test_names_of_a_camera_are_conditional_and_need_folders(tmp_path, audit_of):
    names, days = visits(8, "{kind}/IMG_{number:04}.png")
    write(tmp_path / "photos", names, days)
    remark = remark_on_sessions(*audit_of(split="random"))
    assert "may flatter" in remark and "folder below its class" in remark


def test_own_splits_that_part_sessions_need_a_split_anew(tmp_path, audit_of):
    names, days = visits(8)
    homes = ("train", "train", "train", "val", "test")
    write(tmp_path / "photos", [f"{homes[n % 5]}/{name}" for n, name in enumerate(names)], days)
    remark = remark_on_sessions(*audit_of())
    assert "set prepare.split: blocks and prepare.group_by: capture_day" in remark


def test_splits_of_a_public_data_set_are_not_remarked(tmp_path, audit_of):
    names, days = visits(8)
    homes = ("train", "train", "train", "val", "test")
    write(tmp_path / "photos", [f"{homes[n % 5]}/{name}" for n, name in enumerate(names)], days)
    audit, prepare = audit_of()
    public = replace(audit, dataset=replace(audit.dataset, comparable_splits=True))
    assert public.shared_sessions["val"].shared > 0
    assert remark_on_sessions(public, prepare) == ""


def test_groups_of_a_table_are_not_to_be_replaced(tmp_path, audit_of):
    names, days = visits(8)
    write(tmp_path / "photos", names, days)
    rows = [f"{name},{name.split('/')[0]},patient {n % 8}\n" for n, name in enumerate(names)]
    table = tmp_path / "photos/table.csv"
    table.write_text("path,label,group\n" + "".join(rows))
    audit, prepare = audit_of(source="csv", path=str(table))
    assert audit.shared_sessions["val"].shared > 0
    assert remark_on_sessions(audit, prepare) == ""


def test_numbered_names_alone_are_not_remarked(tmp_path, audit_of):
    write(tmp_path / "photos", *visits(8, "{kind}/{kind}_{number:03}.png"))
    audit, prepare = audit_of()
    assert audit.sessions is None
    assert remark_on_sessions(audit, prepare) == ""
    assert "sessions" not in count_findings(audit)


def test_the_audit_shows_sessions_per_class_and_no_day(tmp_path, audit_of):
    names, days = visits(5)
    write(tmp_path / "photos", names, days)
    audit, _ = audit_of()
    found = report(audit)
    assert [row["sessions"] for row in found["classes"]] == [5, 5]
    counts = found["counts"]["sessions"]
    assert (counts["told_by"], counts["found"], counts["days"]) == ("capture_time", 5, 5)
    assert counts["per_class"] == counts["days_per_class"] == {"fewest": 5, "most": 5}
    page = render_audit(audit)
    assert "5 sessions" in page and "told by capture times" in page
    for text in (str(found), page):
        assert "2021" not in text.replace(str(tmp_path), "")
