import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from pipeline.data.sources import SPLITS, ImageDataset, Sample, plan_splits
from pipeline.data.split import groups_across_splits, merge_groups, split_dataset
from pipeline.errors import DataError
from pipeline.params import Fractions, Prepare


def source_of(labels, splits=None):
    splits = splits or [None] * len(labels)
    samples = [
        Sample(Path(f"{i}.jpg"), f"{i}.jpg", int(label), split)
        for i, (label, split) in enumerate(zip(labels, splits, strict=True))
    ]
    classes = tuple(f"class-{label}" for label in range(max(labels) + 1))
    return ImageDataset("drawn", classes, tuple(samples), license="none", origin="here")


def published(**options):
    return Prepare(source="folder", path="anywhere", split="published", **options)


def shares(labels, parts):
    """[3, classes]: the fraction of every class in every part."""
    labels = np.asarray(labels)
    totals = np.bincount(labels)
    return np.array([np.bincount(labels[part], minlength=len(totals)) / totals for part in parts])


def spread(labels, parts):
    """Root mean square deviation of the class shares from 60/20/20."""
    return np.sqrt(np.mean((shares(labels, parts) - np.array([[0.6], [0.2], [0.2]])) ** 2))


def stratified_group_folds(labels, groups, seed):
    """60/20/20 by scikit-learn: five folds, of which three are for training."""
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
    tests = [test for _, test in folds.split(labels, labels, groups)]
    return [np.concatenate(tests[:3]), *tests[3:]]


@st.composite
def fractions(draw):
    weights = draw(st.tuples(*[st.integers(1, 8)] * 3))
    return Fractions(**{n: w / sum(weights) for n, w in zip(SPLITS, weights, strict=True)})


@given(
    st.integers(60, 150),
    st.integers(2, 3),
    st.sampled_from(["blocks", "random"]),
    st.integers(1, 7),
    st.integers(0, 99),
)
def test_every_image_is_in_one_split_and_blocks_stay_whole(images, classes, split, block, seed):
    labels = np.random.default_rng(seed).integers(0, classes, images).tolist()
    prepare = Prepare(split=split, block=block, seed=seed)
    chosen = split_dataset(source_of(labels), prepare)
    assert sorted(itertools.chain(*chosen.values())) == list(range(images))
    assert all(indices == sorted(indices) for indices in chosen.values())
    assert all({labels[i] for i in chosen[name]} == set(labels) for name in SPLITS)
    if split == "blocks":
        homes = [{i // block for i in indices} for indices in chosen.values()]
        assert sum(map(len, homes)) == len(set.union(*homes))


@given(
    st.lists(st.integers(17, 40), min_size=2, max_size=5),  # the smallest fraction is 1 / 17
    fractions(),
    st.integers(0, 9),
    st.randoms(use_true_random=False),
)
def test_a_random_split_is_within_one_image_of_every_target_count(sizes, wanted, seed, random):
    # Every image goes to the part with the largest deficit, so no part exceeds its target by a
    # whole image while another one is below by a whole image. A part whose target is less than one
    # image of a class gets one nevertheless, which other classes make up for.
    labels = [label for label, size in enumerate(sizes) for _ in range(size)]
    random.shuffle(labels)
    prepare = Prepare(split="random", fractions=wanted, seed=seed)
    chosen = split_dataset(source_of(labels), prepare)
    for name in SPLITS:
        counts = np.bincount(np.array(labels)[chosen[name]], minlength=len(sizes))
        assert np.all(np.abs(counts - np.array(sizes) * getattr(wanted, name)) < 1 + 1e-9)


def test_blocks_are_stratified_about_as_well_as_by_scikit_learn():
    ours, theirs, blind = [], [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        kinds = rng.choice(6, p=[0.4, 0.25, 0.15, 0.1, 0.06, 0.04], size=90)
        labels = np.repeat(np.r_[kinds, np.arange(6)], rng.integers(5, 15, 96))
        blocks = np.arange(len(labels)) // 8
        chosen = split_dataset(source_of(labels), Prepare(block=8, seed=seed))
        ours.append(spread(labels, [chosen[name] for name in SPLITS]))
        theirs.append(spread(labels, stratified_group_folds(labels, blocks, seed)))
        home = rng.choice(3, p=[0.6, 0.2, 0.2], size=blocks[-1] + 1)[blocks]
        blind.append(spread(labels, [np.flatnonzero(home == part) for part in range(3)]))
    assert np.mean(ours) < 2 * np.mean(theirs)
    assert np.mean(ours) < 0.5 * np.mean(blind)


def test_blocks_are_stratified_on_elpv():
    pytest.importorskip("elpv_dataset", reason="the images come with the extra `demo`")
    from pipeline.data.sources import read_source

    source = read_source(Prepare())
    labels = np.array([sample.label for sample in source.samples])
    chosen = split_dataset(source, Prepare())
    parts = [chosen[name] for name in SPLITS]
    sizes = np.array([len(part) for part in parts]) / len(labels)
    assert np.abs(sizes - [0.6, 0.2, 0.2]).max() < 0.03
    theirs = stratified_group_folds(labels, np.arange(len(labels)) // 30, seed=0)
    assert spread(labels, parts) < 1.5 * spread(labels, theirs)


def test_blocks_separate_fewer_neighbors_than_a_random_split():
    labels = np.random.default_rng(0).integers(0, 3, 900)

    def parted(split):
        home = np.empty(len(labels), dtype=int)
        for part, indices in enumerate(split_dataset(source_of(labels), split).values()):
            home[indices] = part
        return int((home[1:] != home[:-1]).sum())

    assert parted(Prepare(split="blocks", block=30)) <= 29
    assert parted(Prepare(split="random")) > 300


@pytest.mark.parametrize("split", ["blocks", "random"])
def test_the_split_is_a_function_of_the_seed(split):
    labels = np.random.default_rng(1).integers(0, 4, 400)
    splits = [
        split_dataset(source_of(labels), Prepare(split=split, block=10, seed=seed))
        for seed in (0, 0, 1, 2)
    ]
    assert splits[0] == splits[1]
    assert splits[0] != splits[2] != splits[3] != splits[0]


@pytest.mark.parametrize("split", ["blocks", "random"])
@pytest.mark.parametrize("images", [1, 2])
def test_a_class_with_fewer_images_than_splits_is_refused_by_name(split, images):
    labels = [0] * 40 + [1] * 40 + [2] * images
    with pytest.raises(DataError) as caught:
        split_dataset(source_of(labels), Prepare(split=split, block=5))
    assert str(caught.value).startswith("class 'class-2': is missing from split ")
    assert f"{images} images for 3 splits" in str(caught.value)


def test_a_class_in_fewer_blocks_than_splits_is_refused_with_the_parameter_to_lower():
    labels = [0] * 60 + [1] * 60
    with pytest.raises(DataError, match=r"class 'class-\d'.*lower prepare\.block"):
        split_dataset(source_of(labels), Prepare(block=30))
    split_dataset(source_of(labels), Prepare(block=5))


def test_published_splits_are_used_even_if_one_lacks_a_class():
    labels = [0, 1, 2, 0, 1, 0, 2]
    names = ["train", "train", "train", "val", "test", "test", "train"]
    chosen = split_dataset(source_of(labels, names), published())
    assert chosen == {"train": [0, 1, 2, 6], "val": [3], "test": [4, 5]}


def test_a_published_training_split_without_a_class_is_refused():
    names = ["train", "train", "val", "test"]
    with pytest.raises(DataError, match="class 'class-2': is missing from split 'train'"):
        split_dataset(source_of([0, 1, 2, 0], names), published())


def test_validation_is_taken_from_training_by_blocks_if_none_is_published():
    labels = np.tile(np.repeat([0, 1], 6), 30)
    names = ["train"] * 300 + ["test"] * 60
    wanted = Fractions(train=0.6, val=0.2, test=0.2)
    chosen = split_dataset(source_of(labels, names), published(block=6, fractions=wanted))
    assert chosen["test"] == list(range(300, 360))
    assert sorted(chosen["train"] + chosen["val"]) == list(range(300))
    # 0.2 of 0.6 + 0.2: a quarter, to within a block of each class.
    assert abs(len(chosen["val"]) - 75) <= 12
    assert not {i // 6 for i in chosen["val"]} & {i // 6 for i in chosen["train"]}
    again = split_dataset(source_of(labels, names), published(block=6, seed=1))
    assert again["val"] != chosen["val"]


@pytest.mark.parametrize("labels", [[0, 1] * 10, [0] * 30 + [1] * 30])
def test_a_validation_split_without_a_class_is_refused(labels):
    # One block takes all of the first case; each of two takes a whole class in the second.
    names = ["train"] * len(labels) + ["test", "test"]
    with pytest.raises(DataError, match=r"class 'class-\d'.*lower prepare\.block"):
        split_dataset(source_of([*labels, 0, 1], names), published(block=30))


@pytest.mark.parametrize("split", ["published", "auto"])
def test_splits_without_one_for_training_are_refused_with_what_was_found(split):
    source = source_of([0, 1, 0, 1, 1], ["val", "val", "test", "test", "test"])
    with pytest.raises(DataError, match=r"none for training.*val: 2, test: 3"):
        split_dataset(source, Prepare(source="folder", path="anywhere", split=split))


def test_published_splits_are_refused_if_a_source_has_none():
    with pytest.raises(DataError, match=r"set prepare\.split to auto"):
        split_dataset(source_of([0, 0, 1, 1]), published())


@pytest.mark.parametrize("present", [("train",), ("train", "val"), ("train", "test"), SPLITS])
def test_splits_that_a_source_lacks_are_taken_from_its_training_split(present):
    own = {"train": 240, "val": 30, "test": 60}
    names = [name for name in present for _ in range(own[name])]
    source = source_of(np.tile(np.repeat([0, 1], 3), len(names) // 6).tolist(), names)
    chosen = split_dataset(source, Prepare(block=3))
    assert chosen == split_dataset(source, published(block=3))
    assert sorted(itertools.chain(*chosen.values())) == list(range(len(names)))
    for name in SPLITS:
        assert {names[i] for i in chosen[name]} == {name if name in present else "train"}
    # 0.6, 0.2 and 0.2 of the training images, relative to those of the splits that are made.
    made = 0.6 + 0.2 * (3 - len(present))
    assert abs(len(chosen["train"]) - 240 * 0.6 / made) <= 6
    plan = plan_splits(source, "auto")
    assert plan.method == "published"
    assert plan.carved == tuple(name for name in SPLITS if name not in present)
    assert all(name in "".join(plan.remarks) for name in plan.carved)
    assert bool(plan.remarks) == bool(plan.carved)


def test_auto_makes_splits_by_blocks_if_the_source_has_none():
    source = source_of(np.tile(np.repeat([0, 1], 10), 30).tolist())
    blocks = split_dataset(source, Prepare(split="blocks", block=10))
    assert split_dataset(source, Prepare(split="auto", block=10)) == blocks
    assert plan_splits(source, "auto").remarks == ()


@pytest.mark.parametrize("split", ["blocks", "random"])
def test_pooled_splits_of_a_source_are_reported(split):
    source = source_of([0, 1] * 30, ["train"] * 40 + ["test"] * 20)
    plan = plan_splits(source, split)
    assert (plan.method, plan.pooled, plan.carved) == (split, ("train", "test"), ())
    assert "train: 40, test: 20" in plan.remarks[0]
    chosen = split_dataset(source, Prepare(source="folder", path="x", split=split, block=1))
    assert {source.samples[i].split for i in chosen["train"]} == {"train", "test"}


def test_images_outside_of_the_splits_of_a_source_are_reported():
    source = source_of([0, 1] * 3, ["train", "train", "test", "test", None, None])
    assert plan_splits(source, "auto").remarks[-1].endswith("not used: 2")


@st.composite
def grouped(draw):
    """Labels and groups of images. A group has one class; its images may be scattered."""
    classes = draw(st.integers(2, 3))
    sizes = draw(st.lists(st.integers(1, 6), min_size=8 * classes, max_size=12 * classes))
    labels, groups = [], []
    for number, size in enumerate(sizes):
        labels += [number % classes] * size
        groups += [None if draw(st.booleans()) and size == 1 else f"group {number}"] * size
    order = draw(st.permutations(range(len(labels))))
    return [labels[i] for i in order], [groups[i] for i in order]


def with_groups(labels, groups, splits=None):
    source = source_of(labels, splits)
    samples = (
        replace(sample, group=group) for sample, group in zip(source.samples, groups, strict=True)
    )
    return replace(source, samples=tuple(samples))


@settings(max_examples=30)
@given(grouped(), st.sampled_from(["blocks", "random"]), st.integers(1, 4))
def test_a_group_stays_in_one_split_in_any_order_of_its_images(drawn, split, block):
    source = with_groups(*drawn)
    chosen = split_dataset(source, Prepare(split=split, block=block))
    assert groups_across_splits(source.samples, chosen) == {}
    homes = {}
    for name, indices in chosen.items():
        for index in indices:
            homes.setdefault(source.samples[index].group or index, set()).add(name)
    assert all(len(home) == 1 for home in homes.values())
    assert sorted(itertools.chain(*chosen.values())) == list(range(len(source.samples)))


def test_groups_of_neighbors_are_split_like_blocks_of_that_length():
    labels = np.repeat(np.random.default_rng(0).integers(0, 3, 60), 10).tolist()
    runs = with_groups(labels, [f"burst {i // 10}" for i in range(600)])
    by_group = split_dataset(runs, Prepare(split="random"))
    assert by_group == split_dataset(source_of(labels), Prepare(split="blocks", block=10))
    # A block of 10 neighbors may take one burst, a block of 11 takes two whole ones.
    longer = split_dataset(runs, Prepare(split="blocks", block=11))
    assert longer == split_dataset(source_of(labels), Prepare(split="blocks", block=20))


def test_groups_are_stratified_about_as_well_as_by_scikit_learn():
    ours, theirs = [], []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        groups = rng.integers(0, 90, 900)
        kinds = rng.choice(6, p=[0.4, 0.25, 0.15, 0.1, 0.06, 0.04], size=72)
        labels = np.r_[kinds, np.repeat(np.arange(6), 3)][groups]
        source = with_groups(labels.tolist(), [str(group) for group in groups])
        chosen = split_dataset(source, Prepare(split="random", seed=seed))
        ours.append(spread(labels, [chosen[name] for name in SPLITS]))
        theirs.append(spread(labels, stratified_group_folds(labels, groups, seed)))
    assert np.mean(ours) < 1.5 * np.mean(theirs)


@pytest.mark.parametrize("seed", range(5))
def test_published_splits_may_divide_a_group_but_a_derived_validation_split_does_not(seed):
    labels = [0, 1] * 40
    groups = [f"track {i // 4 % 19}" for i in range(80)]
    source = with_groups(labels, groups, ["train"] * 60 + ["test"] * 20)
    chosen = split_dataset(source, published(block=1, seed=seed))
    parted = groups_across_splits(source.samples, chosen)
    assert parted
    assert all("test" in home and len(home) == 2 for home in parted.values())
    for name, home in parted.items():
        members = {i for i, group in enumerate(groups) if group == name}
        assert set(home) == {split for split in SPLITS if members & set(chosen[split])}


@settings(max_examples=50)
@given(
    st.lists(st.integers(3, 9), min_size=2, max_size=6),
    fractions(),
    st.sampled_from(["blocks", "random"]),
    st.integers(0, 9),
)
def test_a_class_with_as_many_images_as_splits_is_in_every_split(sizes, wanted, split, seed):
    labels = [label for label, size in enumerate(sizes) for _ in range(size)]
    prepare = Prepare(split=split, block=1, fractions=wanted, seed=seed)
    chosen = split_dataset(source_of(labels), prepare)
    assert all({labels[i] for i in chosen[name]} == set(labels) for name in SPLITS)


def test_a_class_in_too_few_groups_is_refused():
    labels = [0] * 40 + [1] * 40
    groups = [str(i) for i in range(40)] + ["left"] * 20 + ["right"] * 20
    with pytest.raises(DataError, match=r"class 'class-1': is missing .*few groups"):
        split_dataset(with_groups(labels, groups), Prepare(split="random"))


@given(
    st.lists(st.sampled_from(["a", "b", None]), min_size=2, max_size=12),
    st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=8),
)
def test_merge_groups_merges_chains_of_pairs_and_groups(groups, pairs):
    pairs = [(a % len(groups), b % len(groups)) for a, b in pairs]
    samples = tuple(
        Sample(Path(f"{i}.png"), f"{i}.png", 0, group=group) for i, group in enumerate(groups)
    )
    source = ImageDataset("drawn", ("only",), samples, "CC0", "here")
    joined = merge_groups(source, np.array(pairs, np.int64).reshape(-1, 2))
    # By hand: merge sets until nothing more is linked.
    links = pairs + [
        (i, j) for i in range(len(groups)) for j in range(i) if groups[i] and groups[i] == groups[j]
    ]
    sets = [{i} for i in range(len(groups))]
    for a, b in links:
        merged = next(s for s in sets if a in s) | next(s for s in sets if b in s)
        sets = [s for s in sets if not s & merged] + [merged]
    for i in range(len(groups)):
        for j in range(i):
            linked = any({i, j} <= s for s in sets)
            mine, other = joined.samples[i].group, joined.samples[j].group
            assert (mine is not None and mine == other) == linked
