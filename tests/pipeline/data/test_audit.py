from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from pipeline.data.audit import check_bad, check_leakage, count_findings, examine, report
from pipeline.data.decoding import decode
from pipeline.data.sources import ImageDataset, PassedOver, Sample
from pipeline.errors import DataError
from pipeline.report.audit_page import render_audit
from pipeline.report.formats import TIMES
from tests.damaged_images import encode

SPLITS = {"train": [0, 1, 4, 5, 6, 7], "val": [2], "test": [3]}


def picture(seed, width=100, height=80):
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (20, 25, 3), dtype=np.uint8))
    return coarse.resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture
def source(tmp_path):
    """0 = 2 by the file; 1 = 3 by the pixels, under two labels; 4 near 5; 6 blank; 7 elongated.

    The ninth and the tenth are bad: an empty file, and all that class `newt` has.
    """
    contents = {
        "0.png": encode(picture(0), "PNG"),
        "1.png": encode(picture(1), "PNG"),
        "2.png": encode(picture(0), "PNG"),
        "3.bmp": encode(picture(1), "BMP"),
        "4.png": encode(picture(4), "PNG"),
        "5.jpg": encode(picture(4), "JPEG", quality=70),
        "6.png": encode(Image.new("RGB", (90, 90), "gray"), "PNG"),
        "7.png": encode(picture(7, 400, 20), "PNG"),
        "<b>8</b>.png": b"",
        "9.png": b"no image",
    }
    labels = [0, 0, 0, 1, 1, 1, 1, 1, 0, 2]
    samples = []
    for (name, content), label in zip(contents.items(), labels, strict=True):
        path = tmp_path / f"sample{len(samples)}{name[-4:]}"
        path.write_bytes(content)
        samples.append(Sample(path, name, label))
    return ImageDataset("drawn", ("cat", "dog & dog", "newt"), tuple(samples), "CC0", "here")


@pytest.fixture
def audit(source, tmp_path):
    decoded = decode(source.samples, tmp_path / "work", image_size=64, fit="crop", workers=1)
    return examine(source, decoded, near_distance=16)


def names(findings):
    return [[sample["name"] for sample in finding["photographs"]] for finding in findings]


def test_every_kind_of_finding_is_listed(audit):
    found = report(replace(audit, splits=SPLITS))
    assert [bad["name"] for bad in found["bad"]] == ["<b>8</b>.png", "9.png"]
    assert found["bad"][0]["problem"] == "is empty"
    copies = found["exact_duplicates"]
    assert names(copies) == [["0.png", "2.png"], ["1.png", "3.bmp"]]
    assert [group["by"] for group in copies] == ["file", "pixels"]
    assert [group["across_splits"] for group in copies] == [True, True]
    assert [group["across_labels"] for group in copies] == [False, True]
    near = found["near_duplicates"]["pairs"]
    assert names(near) == [["4.png", "5.jpg"]]
    assert not near[0]["across_splits"]
    assert [sample["name"] for sample in found["flat"]] == ["6.png"]
    assert [(p["name"], p["width"], p["height"]) for p in found["small"]] == [("7.png", 400, 20)]
    assert [sample["name"] for sample in found["elongated"]] == ["7.png"]


def test_every_copy_is_paired_with_the_first_image_of_its_group(audit):
    assert audit.copy_pairs.tolist() == [[0, 2], [1, 3]]
    three = replace(audit, copies=[[1, 4, 6]])
    assert three.copy_pairs.tolist() == [[1, 4], [1, 6]]
    assert replace(audit, copies=[]).copy_pairs.shape == (0, 2)


def test_counts_match_the_lists(audit):
    counts = count_findings(replace(audit, splits=SPLITS))
    assert (counts["photographs"], counts["bad"]) == (10, 2)
    assert counts["exact_duplicates"] == {"found": 2, "across_splits": 2, "across_labels": 1}
    assert counts["near_duplicates"] == {"found": 1, "across_splits": 0, "across_labels": 0}
    assert counts["imbalance"] is None, "newt has nothing left"
    rows = report(replace(audit, splits=SPLITS))["classes"]
    assert rows[0] == {
        "name": "cat",
        "usable": 3,
        "bad": 1,
        "unread": 0,
        "near_duplicates": 0,
        "train": 2,
        "val": 1,
        "test": 0,
    }


def test_unusable_images_are_named(audit):
    with pytest.raises(DataError, match=r"2 of 10 images: .*8</b>\.png \(is empty\)"):
        check_bad(audit, skip=False)


def test_a_class_without_usable_images_is_refused_even_with_skip(audit, source, tmp_path):
    with pytest.raises(DataError, match=r"class 'newt': has no usable image"):
        check_bad(audit, skip=True)
    without = replace(source, samples=source.samples[:9], classes=source.classes[:2])
    decoded = decode(without.samples, tmp_path / "work", image_size=64, fit="crop", workers=1)
    check_bad(examine(without, decoded, near_distance=0), skip=True)


def test_copies_across_splits_are_refused_unless_allowed(audit):
    leaking = replace(audit, splits=SPLITS)
    with pytest.raises(DataError, match=r"2 images: .*0\.png \(train\) = 2\.png \(val\)"):
        check_leakage(leaking, allow=False)
    check_leakage(leaking, allow=True)
    check_leakage(
        replace(audit, splits={"train": [0, 1, 2, 3], "val": [4, 5], "test": []}), allow=False
    )


def test_near_duplicates_across_splits_are_accepted(audit):
    check_leakage(
        replace(audit, splits={"train": [0, 1, 2, 3, 4], "val": [5], "test": []}), allow=False
    )


def test_copies_across_published_splits_are_accepted_but_not_in_a_derived_one(source, tmp_path):
    of = dict.fromkeys(range(10), "train") | {2: "test", 3: "test"}
    samples = tuple(replace(sample, split=of[i]) for i, sample in enumerate(source.samples))
    published = replace(source, samples=samples)
    decoded = decode(samples, tmp_path / "work", image_size=64, fit="crop", workers=1)
    audit = examine(published, decoded, near_distance=0)
    given = replace(audit, splits={"train": [0, 1, 4, 5, 6, 7], "val": [], "test": [2, 3]})
    assert count_findings(given)["exact_duplicates"]["across_splits"] == 2
    check_leakage(given, allow=False)
    carved = replace(audit, splits={"train": [1, 4, 5, 6, 7], "val": [0], "test": [2, 3]})
    with pytest.raises(DataError, match=r"1 images: .*0\.png \(val\) = 2\.png \(test\)"):
        check_leakage(carved, allow=False)


def test_copies_across_the_splits_of_own_images_are_refused(source, tmp_path):
    of = dict.fromkeys(range(10), "train") | {2: "test", 3: "test"}
    samples = tuple(replace(sample, split=of[i]) for i, sample in enumerate(source.samples))
    own = replace(source, samples=samples, comparable_splits=False)
    decoded = decode(samples, tmp_path / "work", image_size=64, fit="crop", workers=1)
    splits = {"train": [0, 1, 4, 5, 6, 7], "val": [], "test": [2, 3]}
    audit = replace(examine(own, decoded, near_distance=0), splits=splits)
    with pytest.raises(DataError, match=r"0\.png \(train\) = 2\.png \(test\)"):
        check_leakage(audit, allow=False)
    check_leakage(audit, allow=True)


def test_distance_zero_disables_the_search_for_near_duplicates(source, audit):
    blind = examine(source, audit.decoded, near_distance=0)
    assert report(blind)["near_duplicates"]["pairs"] == []
    assert count_findings(blind)["near_duplicates"] is None


@pytest.mark.parametrize("with_splits", [True, False])
def test_the_page_is_escaped_and_self_contained(audit, with_splits):
    page = render_audit(replace(audit, splits=SPLITS) if with_splits else audit)
    assert "&lt;b&gt;8&lt;/b&gt;.png" in page
    assert "dog &amp; dog" in page
    assert "<b>8" not in page
    assert "http" not in page
    assert page == render_audit(replace(audit, splits=SPLITS) if with_splits else audit)


def test_groups_across_published_splits_are_listed(source, tmp_path):
    grouped = replace(
        source,
        samples=tuple(
            replace(sample, group="nest 1" if place in (0, 4) else f"alone {place}")
            for place, sample in enumerate(source.samples)
        ),
    )
    decoded = decode(grouped.samples, tmp_path / "work", image_size=64, fit="crop", workers=1)
    audit = examine(grouped, decoded, near_distance=16)
    assert report(audit)["parted_groups"] == []
    splits = replace(audit, splits={"train": [0, 1, 2], "val": [3], "test": [4, 5, 6, 7]})
    assert report(splits)["parted_groups"] == [{"group": "nest 1", "splits": ["train", "test"]}]
    assert count_findings(splits)["parted_groups"] == 1
    assert "nest 1" in render_audit(splits)
    assert "nest 1" not in render_audit(audit)


def test_files_that_are_passed_over_are_counted_by_suffix_and_shown(source, audit):
    passed_over = (
        *(PassedOver(f"cat/<i>{number}.HEIC", is_image=True, label=0) for number in range(5)),
        PassedOver("outside.cr2", is_image=True),
        *(PassedOver(f"cat/{number}.xml", is_image=False, label=0) for number in range(7)),
        PassedOver("README", is_image=False),
    )
    dataset = replace(source, passed_over=passed_over, remarks=("the layout is unusual",))
    of = replace(audit, dataset=dataset)
    found = report(of)
    assert [(k["suffix"], k["is_image"], k["files"]) for k in found["passed_over"]] == [
        (".heic", True, 5),
        (".cr2", True, 1),
        (".xml", False, 7),
        ("", False, 1),
    ]
    assert found["passed_over"][0]["examples"][0] == "cat/<i>0.HEIC"
    assert {(file["name"], file["class"]) for file in found["unread"]} >= {
        ("cat/<i>4.HEIC", "cat"),
        ("outside.cr2", None),
    }
    assert (found["counts"]["unread"], found["counts"]["other_files"]) == (6, 8)
    assert found["classes"][0]["unread"] == 5
    assert found["remarks"] == ["the layout is unusual"]
    page = render_audit(of)
    for words in (
        ".heic",
        ".cr2",
        ".xml",
        "cat/&lt;i&gt;0.HEIC",
        "5 not read",
        "layout is unusual",
    ):
        assert words in page
    assert "<i>0" not in page


def test_wrong_suffixes_and_dark_images_are_listed(tmp_path):
    gray = np.asarray(picture(1).convert("L")).astype(np.uint16)
    contents = {
        "0.png": encode(picture(0), "PNG"),
        "1.jpg": encode(picture(1), "PNG"),
        "10 bits.png": encode(Image.fromarray(gray * 4), "PNG"),
        "12 bits.png": encode(Image.fromarray(gray * 16), "PNG"),
        "16 bits.png": encode(Image.fromarray(gray * 257), "PNG"),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    samples = tuple(Sample(tmp_path / name, name, n % 2) for n, name in enumerate(contents))
    decoded = decode(samples, tmp_path / "work", image_size=64, fit="crop", workers=1)
    dataset = ImageDataset("drawn", ("cat", "dog"), samples, "CC0", "here")
    audit = examine(dataset, decoded, near_distance=0)
    found = report(audit)
    assert [image["name"] for image in found["dark"]] == ["10 bits.png", "12 bits.png"]
    assert [image["name"] for image in found["other_format"]] == ["1.jpg"]
    assert "PNG" in found["other_format"][0]["problem"]
    assert (found["counts"]["dark"], found["counts"]["other_format"]) == (2, 1)
    page = render_audit(audit)
    assert "1.jpg" in page and "12 bits.png" in page


def test_the_sides_of_photographs_are_compared_with_those_of_a_rectangle(tmp_path):
    """Width and height of each photograph, for an input of 40 x 80 pixels."""
    shapes = {
        "fits": (160, 80), "turned": (80, 160), "square": (100, 100), "low": (90, 30),
        "short": (70, 45), "strip": (700, 50), "turned strip": (50, 700),
    }  # fmt: skip
    samples = []
    for name, (width, height) in shapes.items():
        path = tmp_path / f"{name}.png"
        path.write_bytes(encode(picture(len(samples), width, height), "PNG"))
        samples.append(Sample(path, path.name, 0))
    dataset = ImageDataset("drawn", ("cat",), tuple(samples), "CC0", "here")
    decoded = decode(samples, tmp_path / "work", image_size=(40, 80), fit="crop", workers=1)
    found = report(examine(dataset, decoded, near_distance=0))
    assert [each["name"] for each in found["small"]] == ["low.png", "short.png"]
    assert [each["name"] for each in found["elongated"]] == ["strip.png", "turned strip.png"]
    page = render_audit(examine(dataset, decoded, near_distance=0))
    assert f"40 {TIMES} 80 pixels (height {TIMES} width)" in page
