from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.sessions import MAX_GAP_S, Sessions, find_sessions, find_shared
from pipeline.data.sources import ImageDataset, Sample

MINUTE, DAY = 60, 24 * 3600
NOON = 19_000 * DAY + DAY // 2


def images(names, labels=None):
    labels = labels or [0] * len(names)
    samples = [Sample(Path(n), n, label) for n, label in zip(names, labels, strict=True)]
    classes = ("robin", "wren")
    return ImageDataset("drawn", classes, tuple(samples), "CC0", "here")


def by_time(times, cameras=None):
    dataset = images([f"{place}.jpg" for place in range(len(times))])
    cameras = cameras or [7] * len(times)
    return find_sessions(dataset, np.array(times, np.int64), np.array(cameras, np.uint64))


def by_name(names, labels=None):
    unknown = np.zeros(len(names), np.int64)
    return find_sessions(images(names, labels), unknown, unknown.astype(np.uint64))


def partition(values):
    """The sets of equal values, as positions; without those of unknown images."""
    return {
        frozenset(i for i, v in enumerate(values) if v == value) for value in values if value != -1
    }


def sessions_of(found):
    return partition(found.of_image.tolist())


def test_a_pause_another_day_and_another_camera_start_a_session():
    times = [NOON, NOON + 20 * MINUTE, NOON + 71 * MINUTE, NOON + DAY]
    assert sessions_of(by_time(times)) == partition("aabc")
    assert sessions_of(by_time([NOON] * 4, [1, 2, 1, 2])) == partition("abab")
    night = 19_001 * DAY
    assert sessions_of(by_time([night - 60, night + 60])) == partition("ab")


@given(
    st.lists(
        st.tuples(st.integers(NOON, NOON + 3 * DAY), st.sampled_from([0, 1, 2**64 - 1])),
        min_size=1,
        max_size=15,
    ),
    st.randoms(use_true_random=False),
)
def test_images_are_of_one_session_if_and_only_if_short_pauses_connect_them(shots, random):
    random.shuffle(shots)
    found = sessions_of(by_time([time for time, _ in shots], [camera for _, camera in shots]))
    # Independently: closure of "same camera, same day, at most MAX_GAP_S apart".
    sets = [{i} for i in range(len(shots))]
    for i, (time, camera) in enumerate(shots):
        for j, (other, camera_of_other) in enumerate(shots):
            near = abs(time - other) <= MAX_GAP_S and time // DAY == other // DAY
            if near and camera == camera_of_other:
                merged = next(s for s in sets if i in s) | next(s for s in sets if j in s)
                sets = [s for s in sets if not s & merged] + [merged]
    assert found == {frozenset(s) for s in sets}


def test_images_without_a_time_are_in_no_session():
    found = by_time([NOON, 0, NOON + 1])
    assert found.of_image.tolist() == [0, -1, 0]
    assert found.day_of_image.tolist() == [19_000, -1, 19_000]
    assert by_time([NOON, 0, 0]) is None


def test_folders_below_a_class_are_sessions():
    names = ["robin/a/1.jpg", "robin/a/2.jpg", "robin/b/1.jpg", "wren/a/1.jpg", "wren/2.jpg"]
    found = by_name(names, [0, 0, 0, 1, 1])
    assert found.told_by == "folder"
    assert found.of_image[-1] == -1
    assert sessions_of(found) == partition("aabc")
    assert found.per_class(np.array([0, 0, 0, 1, 1]), 2) == [2, 1]


@pytest.mark.parametrize(
    "names",
    [
        ["robin/images/1.jpg", "robin/images/2.jpg", "wren/images/1.jpg"],
        ["part1/1.jpg", "part2/2.jpg", "part2/3.jpg"],
        ["images/cell0001.png", "images/cell0002.png", "images/cell0003.png"],
        ["Golden-Delicious_001.jpg", "Golden-Delicious_002.jpg", "Royal-Gala_001.jpg"],
        ["img_0001.jpg", "img_0002.jpg", "img_0003.jpg"],
        ["0001.jpg", "0002.jpg", "IMG_0001.jpg"],
    ],
    ids=["one folder a class", "parts of a table", "cells", "renumbered", "scraped", "few"],
)
def test_names_that_no_camera_gave_and_single_folders_tell_nothing(names):
    assert by_name(names, [0, 0, 1]) is None


def test_runs_of_names_that_a_camera_numbered_are_sessions():
    names = [
        *("robin/IMG_0009.JPG", "robin/IMG_0003.JPG", "robin/IMG_0040.JPG", "robin/IMG_0041.JPG"),
        *("wren/IMG_0010.JPG", "wren/DSC_0010.JPG", "wren/other.JPG"),
    ]
    found = by_name(names)
    assert found.told_by == "name"
    assert found.of_image[-1] == -1
    assert sessions_of(found) == partition("aabbcd")


def shared_of(of_image, labels, splits, hashes):
    sessions = Sessions("folder", np.array(of_image), np.full(len(of_image), -1))
    return find_shared(sessions, np.array(labels), np.array(hashes, np.uint64), splits)


@st.composite
def split_images(draw):
    n = draw(st.integers(3, 25))
    of_image = draw(st.lists(st.integers(-1, 4), min_size=n, max_size=n))
    labels = draw(st.lists(st.integers(0, 1), min_size=n, max_size=n))
    hashes = draw(st.lists(st.tuples(*[st.integers(0, 15)] * 2), min_size=n, max_size=n))
    homes = draw(st.lists(st.sampled_from(["train", "val", "test"]), min_size=n, max_size=n))
    splits = {s: [i for i in range(n) if homes[i] == s] for s in ("train", "val", "test")}
    return of_image, labels, splits, hashes


@given(split_images())
def test_shared_images_and_their_most_similar_ones_agree_with_a_plain_count(case):
    of_image, labels, splits, hashes = case
    found = shared_of(of_image, labels, splits, hashes)
    for name in ("val", "test"):
        shared, nearest, chance = 0, [], []
        for i in splits[name]:
            if of_image[i] == -1 or of_image[i] not in [of_image[j] for j in splits["train"]]:
                continue
            shared += 1
            others = [j for j in splits["train"] if labels[j] == labels[i]]
            if not others:
                continue
            bits = {
                j: sum((a ^ b).bit_count() for a, b in zip(hashes[i], hashes[j], strict=True))
                for j in others
            }
            best = [j for j in others if bits[j] == min(bits.values())]
            nearest.append(sum(of_image[j] == of_image[i] for j in best) / len(best))
            chance.append(sum(of_image[j] == of_image[i] for j in others) / len(others))
        assert (found[name].images, found[name].shared) == (len(splits[name]), shared)
        assert found[name].nearest == pytest.approx(np.mean(nearest or [0]))
        assert found[name].by_chance == pytest.approx(np.mean(chance or [0]))


def test_only_similar_sessions_are_nearer_than_chance():
    rng = np.random.default_rng(0)
    count, sessions = 400, 10
    of_image = rng.integers(0, sessions, count)
    splits = {"train": list(range(200)), "val": list(range(200, 300)), "test": []}
    alone = rng.integers(0, 2**63, (count, 4), dtype=np.uint64)
    centers = rng.integers(0, 2**63, (sessions, 4), dtype=np.uint64)
    similar = centers[of_image] ^ (alone & rng.integers(0, 2**63, (count, 4), dtype=np.uint64))
    unrelated = shared_of(of_image, np.zeros(count, int), splits, alone)["val"]
    related = shared_of(of_image, np.zeros(count, int), splits, similar)["val"]
    assert unrelated.shared == related.shared == 100
    assert not unrelated.is_nearer
    assert related.is_nearer and related.nearest > 0.9 > 0.2 > related.by_chance
