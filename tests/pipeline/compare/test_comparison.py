"""Comparisons of a tiny network on drawn squares: what is run, what is kept, what is read when."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.compare.analysis import judge
from pipeline.compare.comparison import run_comparison
from pipeline.compare.plan import trials_of
from pipeline.compare.runs import ComparisonSetup, RunStore, train_run
from pipeline.data.prepared import PreparedData
from pipeline.errors import ParameterError
from pipeline.logit_cache import CacheKey
from pipeline.models.classifier import build_classifier, load_classifier, save_classifier
from pipeline.params import Compare, Distill, Views
from pipeline.training.teacher import CachedTeacher

CLASSES, SIZE, VIEWS = ("dark", "grey", "light"), 16, 2
RECIPE = Distill(
    model="test_vit", epochs=1, batch_size=8, lr=0.01, weight_decay=0.0, method="figkd", keep="last"
)
COMPARE = Compare(
    entries=[
        {"name": "labels", "set": {"method": "cross_entropy"}, "tune": {"lr": [0.001, 0.1]}},
        {"name": "mse", "set": {"method": "logit_mse"}, "tune": {"logit_mse.weight": [0.1, 1.0]}},
    ],
    against=["labels"],
    seeds=2,
    trials=2,
    folds=3,
    confused_pairs=1,
)


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared")
    rng = np.random.default_rng(0)
    splits = {}
    for name, count in (("train", 24), ("val", 9), ("test", 12)):
        labels = np.arange(count) % len(CLASSES)
        level = 40 + 80 * labels[:, None, None, None]
        images = rng.integers(-30, 31, (count, SIZE, SIZE, 3)) + level
        (folder / name).mkdir()
        np.save(folder / name / "images.npy", images.astype(np.uint8))
        np.save(folder / name / "labels.npy", labels)
        splits[name] = {"images": count}
    info = {"classes": list(CLASSES), "image_size": SIZE, "fingerprint": "f", "splits": splits}
    labels = np.arange(24) % len(CLASSES)
    logits = np.stack([4.0 * np.eye(3)[labels]] * VIEWS).astype(np.float32)
    folds = [np.flatnonzero(np.arange(24) // 8 == k) for k in range(3)]
    return ComparisonSetup(
        PreparedData(folder, info),
        CachedTeacher(logits),
        lambda: np.eye(3),
        CacheKey("t", "d", "v"),
        Views(),
        folds,
        torch.device("cpu"),
    )


def compare(bench, store, compare=COMPARE):
    done = []
    finals = run_comparison(compare, RECIPE, bench, store, on_done=done.append)
    return finals, done


def test_every_run_is_trained_once_and_a_second_comparison_trains_nothing(bench, tmp_path):
    store = RunStore(tmp_path)
    finals, done = compare(bench, store)
    assert [(d.run.entry, d.run.fold, d.run.seed) for d in done] == [
        ("labels", 0, 0),
        ("labels", 0, 0),
        ("mse", 0, 0),
        ("mse", 0, 0),
        ("labels", None, 0),
        ("mse", None, 0),
        ("labels", None, 1),
        ("mse", None, 1),
    ]
    assert [d.number for d in done] == list(range(1, 9))
    assert done[-1].seconds_left == 0 < done[0].seconds_left
    again, nothing = compare(bench, store)
    assert again == finals
    assert nothing == []


def test_the_setting_with_the_best_trial_is_the_one_that_is_run(bench, tmp_path):
    store = RunStore(tmp_path)
    finals, done = compare(bench, store)
    for name, runs in finals.items():
        trials = [d for d in done if d.run.entry == name and d.run.fold is not None]
        best = max(trials, key=lambda d: d.record["val_accuracy"])  # the first of equals
        assert [run.setting for run in runs] == [best.run.setting] * 2
        assert [run.seed for run in runs] == [0, 1]


def test_with_several_folds_the_mean_over_them_decides(bench, tmp_path):
    store = RunStore(tmp_path)
    several = COMPARE.model_copy(update={"trial_folds": 3})
    finals, done = compare(bench, store, several)
    assert len(done) == done[-1].total == 2 * (2 * 3 + 2)
    assert done[-1].seconds_left == 0
    facts = judge(several, RECIPE, bench, store, finals, np.eye(3)[np.arange(9) % 3])
    for entry in facts["entries"]:
        means = []
        for trial in entry["trials"]:
            ours = [
                d.record["val_accuracy"]
                for d in done
                if (d.run.entry, d.run.setting) == (entry["name"], trial["setting"])
                and d.run.fold is not None
            ]
            assert len(ours) == 3
            assert trial["accuracy"] == pytest.approx(np.mean(ours))
            means.append(trial["accuracy"])
        assert entry["setting"] == entry["trials"][int(np.argmax(means))]["setting"]
    # The runs on the first fold are those of a comparison on one fold.
    _, new = compare(bench, RunStore(tmp_path))
    assert all(d.run.fold is None for d in new)


def test_a_lost_run_alone_is_done_again_and_ends_in_the_same_weights(bench, tmp_path):
    store = RunStore(tmp_path)
    finals, _ = compare(bench, store)
    lost = bench.name_of(finals["mse"][1])
    weights = (tmp_path / lost / "model.safetensors").read_bytes()
    (tmp_path / lost / "model.json").unlink()
    _, done = compare(bench, store)
    assert [(d.run.entry, d.run.seed) for d in done] == [("mse", 1)]
    assert (tmp_path / lost / "model.safetensors").read_bytes() == weights


def test_what_would_train_other_weights_is_another_run(bench, tmp_path):
    store = RunStore(tmp_path)
    finals, _ = compare(bench, store)
    run = finals["mse"][0]
    other = [
        replace(run, seed=7),
        replace(run, fold=1),
        replace(run, distill=run.distill.changed({"logit_mse.weight": 0.5})),
    ]
    assert len({bench.name_of(r) for r in [run, *other]}) == 4
    elsewhere = replace(bench, cache=CacheKey("another teacher", "d", "v"))
    assert elsewhere.name_of(run) != bench.name_of(run)
    # The options of a method that is not used change nothing.
    same = replace(run, distill=run.distill.changed({"kd.weight": 0.5}))
    assert bench.name_of(same) == bench.name_of(run)


def test_a_file_of_first_weights_counts_by_what_is_in_it(bench, tmp_path):
    run = trials_of(COMPARE.entries[0], RECIPE, COMPARE)[0][0]

    def started_from(path):
        changes = {"pretrained": "file", "weights": str(path)}
        return replace(run, distill=run.distill.changed(changes))

    for name, content in (("one", b"1"), ("same", b"1"), ("other", b"2")):
        (tmp_path / name).write_bytes(content)
    names = [bench.name_of(started_from(tmp_path / n)) for n in ("one", "same", "other")]
    assert names[0] == names[1]
    assert len({bench.name_of(run), *names}) == 3
    with pytest.raises(ParameterError, match=r"distill\.weights: .*gone cannot be read"):
        bench.name_of(started_from(tmp_path / "gone"))


def test_the_students_of_a_comparison_start_from_pretrained_weights(bench, tmp_path):
    torch.manual_seed(8)
    donor = build_classifier("test_vit", CLASSES, SIZE)
    save_classifier(tmp_path / "donor", donor, {})
    # So slow that what is kept is what it started from.
    changes = {
        "pretrained": "file",
        "weights": str(tmp_path / "donor/model.safetensors"),
        "lr": 1e-9,
    }
    run = trials_of(COMPARE.entries[0], RECIPE, COMPARE)[0][0]
    run = replace(run, distill=run.distill.changed(changes))
    train_run(run, bench, RunStore(tmp_path / "runs"))
    kept, _ = load_classifier(tmp_path / "runs" / bench.name_of(run), torch.device("cpu"))
    for name, tensor in donor.state_dict().items():
        torch.testing.assert_close(kept.state_dict()[name], tensor, rtol=1e-4, atol=1e-6)


def test_a_random_class_order_is_another_one_with_every_seed(bench, tmp_path):
    entry = {
        "name": "shuffled",
        "set": {"method": "figkd", "class_order.kind": "random"},
        "tune": {"figkd.weight": [0.1, 0.2]},
    }
    finals, _ = compare(bench, RunStore(tmp_path), Compare(entries=[entry], trials=2, seeds=2))
    assert [run.distill.class_order.seed for run in finals["shuffled"]] == [0, 1]


def test_a_run_that_another_process_holds_is_left_to_it_until_nothing_else_is_left(bench, tmp_path):
    store = RunStore(tmp_path)
    _, done = compare(bench, store)
    held = bench.name_of(done[0].run)
    with (
        store.claim(held, wait=False) as ours,
        RunStore(tmp_path).claim(held, wait=False) as theirs,
    ):
        assert (ours, theirs) == (True, False)
    with store.claim(held, wait=False) as free_again:
        assert free_again


def test_the_test_split_is_read_only_by_the_judge(bench, tmp_path):
    hidden = bench.data.folder / "test"
    hidden.rename(hidden.with_name("hidden"))
    store = RunStore(tmp_path)
    try:
        finals, _ = compare(bench, store)
    finally:
        hidden.with_name("hidden").rename(hidden)
    val_logits = np.eye(3)[np.arange(9) % 3] + np.array([0, 0.5, 0])
    facts = judge(COMPARE, RECIPE, bench, store, finals, val_logits)
    assert facts == json.loads(json.dumps(facts))
    assert facts["test_images"] == 12
    labels, mse = facts["entries"]
    accuracies = [run["accuracy"] for run in mse["runs"]]
    assert mse["accuracy"]["mean"] == pytest.approx(np.mean(accuracies))
    assert mse["accuracy"]["deviation"] == pytest.approx(np.std(accuracies, ddof=1))
    difference = np.mean(accuracies) - np.mean([run["accuracy"] for run in labels["runs"]])
    assert mse["against"]["labels"]["difference"] == pytest.approx(difference)
    assert len(mse["against"]["labels"]["mcnemar"]) == 2
    assert "against" not in labels
    assert [t["setting"] for t in mse["trials"]] == [
        {"logit_mse.weight": 0.1},
        {"logit_mse.weight": 1.0},
    ]


def test_nothing_to_compare_is_refused(bench, tmp_path):
    with pytest.raises(ParameterError, match=r"compare\.entries: is empty"):
        compare(bench, RunStore(tmp_path), Compare(entries=[]))
