"""Comparisons of a tiny network on synthetic images: planning, storage, and reading of splits."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.compare.analysis import analyze
from pipeline.compare.comparison import run_comparison
from pipeline.compare.runs import ComparisonSetup, Run, RunStore, train_run, trials_of
from pipeline.errors import ParameterError
from pipeline.models.classifier import build_classifier, load_classifier, save_classifier
from pipeline.params import Compare, Views, load_params
from pipeline.training.teacher import CachedTeacher
from tests.prepared_data import write_prepared, write_unlabelled

CLASSES, SIZE, VIEWS = ("dark", "grey", "light"), 16, 2
RECIPE = load_params(
    Path(__file__).parents[3] / "params.yaml",
    [
        f"distill.{override}"
        for override in (
            "model=test_vit",
            "image_size=16",
            "epochs=1",
            "batch_size=8",
            "lr=0.01",
            "keep=last",
        )
    ],
).distill
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
def setup(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared")
    rng = np.random.default_rng(0)
    splits = {}
    for name, count in (("train", 24), ("val", 9), ("test", 12)):
        labels = np.arange(count) % len(CLASSES)
        level = 40 + 80 * labels[:, None, None, None]
        images = rng.integers(-30, 31, (count, SIZE, SIZE, 3)) + level
        splits[name] = (images.astype(np.uint8), labels)
    data = write_prepared(folder, CLASSES, splits)
    labels = np.arange(24) % len(CLASSES)
    logits = np.stack([4.0 * np.eye(3)[labels]] * VIEWS).astype(np.float32)
    folds = [np.flatnonzero(np.arange(24) // 8 == k) for k in range(3)]
    return ComparisonSetup(
        COMPARE,
        RECIPE,
        data,
        CachedTeacher(logits),
        lambda: np.eye(3),
        "c" * 64,
        Views(),
        folds,
        torch.device("cpu"),
    )


def compare(setup, store):
    done = []
    finals = run_comparison(setup, store, on_finished=done.append)
    return finals, done


def test_every_run_is_trained_once_and_a_second_comparison_trains_nothing(setup, tmp_path):
    store = RunStore(tmp_path)
    finals, done = compare(setup, store)
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
    again, nothing = compare(setup, store)
    assert again == finals
    assert nothing == []


def test_the_setting_with_the_best_trial_is_selected(setup, tmp_path):
    store = RunStore(tmp_path)
    finals, done = compare(setup, store)
    for name, runs in finals.items():
        trials = [d for d in done if d.run.entry == name and d.run.fold is not None]
        best = max(trials, key=lambda d: d.record["val_accuracy"])  # the first on a tie
        assert [run.setting for run in runs] == [best.run.setting] * 2
        assert [run.seed for run in runs] == [0, 1]


def test_with_several_folds_the_mean_accuracy_decides(setup, tmp_path):
    store = RunStore(tmp_path)
    several = replace(setup, compare=COMPARE.model_copy(update={"trial_folds": 3}))
    finals, done = compare(several, store)
    assert len(done) == done[-1].total == 2 * (2 * 3 + 2)
    assert done[-1].seconds_left == 0
    facts = analyze(several, store, finals, np.eye(3)[np.arange(9) % 3])
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
    # A comparison on one fold has the same trials on that fold.
    _, new = compare(setup, RunStore(tmp_path))
    assert all(d.run.fold is None for d in new)


def test_only_a_deleted_run_is_trained_again_to_the_same_weights(setup, tmp_path):
    store = RunStore(tmp_path)
    finals, _ = compare(setup, store)
    lost = setup.key_of(finals["mse"][1])
    weights = (tmp_path / lost / "model.safetensors").read_bytes()
    (tmp_path / lost / "model.json").unlink()
    _, done = compare(setup, store)
    assert [(d.run.entry, d.run.seed) for d in done] == [("mse", 1)]
    assert (tmp_path / lost / "model.safetensors").read_bytes() == weights


def test_whatever_changes_the_weights_changes_the_key(setup, tmp_path):
    store = RunStore(tmp_path)
    finals, _ = compare(setup, store)
    run = finals["mse"][0]
    other = [
        replace(run, seed=7),
        replace(run, fold=1),
        replace(run, distill=run.distill.changed({"logit_mse.weight": 0.5})),
    ]
    assert len({setup.key_of(r) for r in [run, *other]}) == 4
    assert replace(setup, cache_sha256="d" * 64).key_of(run) != setup.key_of(run)
    other_device = replace(setup, device=torch.device("meta"))
    assert other_device.key_of(run) != setup.key_of(run)
    # The options of other methods do not.
    same = replace(run, distill=run.distill.changed({"kd.weight": 0.5}))
    assert setup.key_of(same) == setup.key_of(run)


def test_other_code_or_another_torch_changes_the_key(setup, monkeypatch):
    run = trials_of(COMPARE.entries[0], COMPARE, RECIPE)[0][0]
    keys = [setup.key_of(run)]
    monkeypatch.setattr(torch, "__version__", "99.0")
    keys.append(setup.key_of(run))
    monkeypatch.setattr("pipeline.compare.runs._code_once", lambda method: "changed")
    keys.append(setup.key_of(run))
    assert len(set(keys)) == 3


def test_a_file_of_initial_weights_counts_by_its_content(setup, tmp_path):
    run = trials_of(COMPARE.entries[0], COMPARE, RECIPE)[0][0]

    def started_from(path):
        changes = {"pretrained": "file", "weights": str(path)}
        return replace(run, distill=run.distill.changed(changes))

    for name, content in (("one", b"1"), ("same", b"1"), ("other", b"2")):
        (tmp_path / name).write_bytes(content)
    names = [setup.key_of(started_from(tmp_path / n)) for n in ("one", "same", "other")]
    assert names[0] == names[1]
    assert len({setup.key_of(run), *names}) == 3
    with pytest.raises(ParameterError, match=r"distill\.weights: .*gone cannot be read"):
        setup.key_of(started_from(tmp_path / "gone"))


def test_the_class_names_of_initial_weights_count_by_their_content(setup, tmp_path):
    run = trials_of(COMPARE.entries[0], COMPARE, RECIPE)[0][0]
    weights, names = tmp_path / "w.pth", tmp_path / "names.txt"
    weights.write_bytes(b"1")
    changes = {"pretrained": "file", "weights": str(weights)}
    beside = replace(run, distill=run.distill.changed(changes))
    given = replace(run, distill=run.distill.changed({**changes, "class_names": str(names)}))
    keys = [setup.key_of(beside)]
    for number, text in enumerate(("a\nb\n", "b\na\n")):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "names.txt").write_text(text)
        (folder / "labels.txt").write_text(text)
        (folder / "w.pth").write_bytes(b"1")
        for key, file in (("class_names", "names.txt"), ("weights", "w.pth")):
            changed = given if key == "class_names" else beside
            changed = changed.distill.changed({key: str(folder / file)})
            keys.append(setup.key_of(replace(run, distill=changed)))
    assert len(set(keys)) == 5


def test_students_start_from_pretrained_weights(setup, tmp_path):
    torch.manual_seed(8)
    donor = build_classifier("test_vit", CLASSES, SIZE)
    save_classifier(tmp_path / "donor", donor, {})
    # A learning rate so low that the weights stay the initial ones.
    changes = {
        "pretrained": "file",
        "weights": str(tmp_path / "donor/model.safetensors"),
        "lr": 1e-9,
    }
    run = trials_of(COMPARE.entries[0], COMPARE, RECIPE)[0][0]
    run = replace(run, distill=run.distill.changed(changes))
    train_run(run, setup, RunStore(tmp_path / "runs"))
    kept, _ = load_classifier(tmp_path / "runs" / setup.key_of(run), torch.device("cpu"))
    for name, tensor in donor.state_dict().items():
        torch.testing.assert_close(kept.state_dict()[name], tensor, rtol=1e-4, atol=1e-6)


def test_a_random_class_order_differs_between_seeds(setup, tmp_path):
    entry = {
        "name": "shuffled",
        "set": {"method": "figkd", "class_order.kind": "random"},
        "tune": {"figkd.detail_weight": [0.1, 0.2]},
    }
    shuffled = replace(setup, compare=Compare(entries=[entry], trials=2, seeds=2))
    finals, _ = compare(shuffled, RunStore(tmp_path))
    assert [run.distill.class_order.seed for run in finals["shuffled"]] == [0, 1]


def test_a_run_is_locked_against_other_processes(setup, tmp_path):
    store = RunStore(tmp_path)
    _, done = compare(setup, store)
    held = setup.key_of(done[0].run)
    with store.lock(held, wait=False):
        assert RunStore(tmp_path).lock(held, wait=False) is None
    with RunStore(tmp_path).lock(held, wait=False) as free_again:
        assert free_again is not None


def test_only_the_analysis_reads_the_test_split(setup, tmp_path):
    hidden = setup.data.folder / "test"
    hidden.rename(hidden.with_name("hidden"))
    store = RunStore(tmp_path)
    try:
        finals, _ = compare(setup, store)
    finally:
        hidden.with_name("hidden").rename(hidden)
    val_logits = np.eye(3)[np.arange(9) % 3] + np.array([0, 0.5, 0])
    facts = analyze(setup, store, finals, val_logits)
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


def test_a_ratio_of_zero_trains_as_without_images_without_labels(setup, tmp_path):
    rng = np.random.default_rng(3)
    train, val, test = (setup.data.split(name) for name in ("train", "val", "test"))
    splits = {
        name: (split.images, split.labels)
        for name, split in (("train", train), ("val", val), ("test", test))
    }
    data = write_prepared(tmp_path / "data", CLASSES, splits)
    data = write_unlabelled(data, rng.integers(0, 256, (5, SIZE, SIZE, 3)))
    answers = rng.normal(size=(VIEWS, 5, 3)).astype(np.float32)
    logits = np.concatenate([setup.teacher.logits, answers], axis=1)
    more = replace(setup, data=data, teacher=CachedTeacher(logits), cache_sha256="d" * 64)

    def weights(chosen, ratio):
        recipe = RECIPE.changed({"method": "logit_mse", "unlabelled.ratio": ratio})
        run, store = Run("mse", {}, recipe, 0, None), RunStore(tmp_path / "runs")
        train_run(run, chosen, store)
        model, _ = load_classifier(store.folder / chosen.key_of(run), setup.device)
        return model.state_dict()

    without, unused, used = weights(setup, 1.0), weights(more, 0.0), weights(more, 1.0)
    assert all(torch.equal(tensor, unused[name]) for name, tensor in without.items())
    assert not all(torch.equal(tensor, used[name]) for name, tensor in without.items())
