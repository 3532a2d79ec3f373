import pytest
import yaml

from pipeline.errors import ParameterError
from pipeline.params import Compare, load_params, load_section
from tests.pipeline.params.own_file import FILE, PROJECT

LABELS = {"name": "labels", "set": {"method": "cross_entropy"}, "tune": {"lr": [0.1, 0.2]}}
MSE = {"name": "mse", "set": {"method": "logit_mse"}, "tune": {"logit_mse.weight": [0.1, 1.0]}}


def load(tmp_path, *overrides, **changes):
    """A comparison of two entries with some changes."""
    path = tmp_path / "compare.yaml"
    raw = {"entries": [LABELS, MSE], "trials": 2, "against": ["labels"], **changes}
    path.write_text(yaml.safe_dump(raw, sort_keys=False))
    compare = load_section(path, Compare, overrides)
    compare.check_entries(load_params(FILE).distill)
    return compare


def test_the_projects_own_file_can_run():
    compare = load_section(PROJECT / "compare.yaml", Compare)
    compare.check_entries(load_params(FILE).distill)
    assert {"cross-entropy", "kd", "figkd-and-kd"} <= {entry.name for entry in compare.entries}


@pytest.mark.parametrize("epochs", [{"lr": 0.1}, {"epochs": 0}])
def test_students_that_are_not_trained_are_not_compared(tmp_path, epochs):
    entry = {"name": "kd", "set": {"method": "kd", **epochs}, "tune": {"kd.weight": [1.0]}}
    given = ["distill.pretrained=file", "distill.weights=w.pth"]
    given += [] if "epochs" in epochs else ["distill.epochs=0"]
    raw = {"entries": [entry], "trials": 1, "trial_epochs": 1}
    (tmp_path / "compare.yaml").write_text(yaml.safe_dump(raw))
    compare = load_section(tmp_path / "compare.yaml", Compare)
    with pytest.raises(ParameterError, match=r"'kd'.*distill\.epochs"):
        compare.check_entries(load_params(FILE, given).distill)


def test_an_override_changes_the_file(tmp_path):
    assert load(tmp_path, "seeds=7").seeds == 7


def test_the_settings_of_an_entry_are_all_combinations(tmp_path):
    entry = {"name": "kd", "set": {"method": "kd"}}
    entry["tune"] = {"kd.weight": [1.0, 3.0], "kd.temperature": [2.0, 4.0]}
    (found,) = load(tmp_path, entries=[entry], trials=4, against=[]).entries
    assert found.settings() == [
        {"kd.weight": 1.0, "kd.temperature": 2.0},
        {"kd.weight": 1.0, "kd.temperature": 4.0},
        {"kd.weight": 3.0, "kd.temperature": 2.0},
        {"kd.weight": 3.0, "kd.temperature": 4.0},
    ]


def test_an_entry_that_sets_a_section_replaces_it_completely(tmp_path):
    entry = {"name": "shuffled", "set": {"class_order": {"kind": "random"}}, "tune": {"lr": [0.1]}}
    compare = load(tmp_path, entries=[entry], trials=1, against=[])
    overrides = ["distill.class_order.kind=file", "distill.class_order.file=order.txt"]
    order = load_params(FILE, overrides).distill.changed(compare.entries[0].set).class_order
    assert (order.kind, order.file) == ("random", None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trials": 3}, r"'labels' has 2 settings.* 3"),
        (  # far more than could be listed
            {"entries": [{**LABELS, "tune": {key: list(range(100)) for key in "abcdefghij"}}]},
            r"'labels' has 10{20} settings",
        ),
        ({"entries": [{**LABELS, "name": "x" * 300}]}, r"name = .*at most 100"),
        ({"trial_folds": 9}, r"trial_folds 9"),
        ({"against": ["lables"]}, r"'lables'.*labels"),
        ({"entries": [LABELS, LABELS]}, r"same name: labels"),
        ({"entries": []}, r"entries = \[\]"),
        ({"seeds": 0}, r"seeds = 0"),
        (
            {"entries": [{**LABELS, "set": {"figkd.wavlet": "haar"}}]},
            r"'labels': distill\.figkd\.wavlet .*distill\.figkd\.wavelet",
        ),
        (
            {"entries": [{**LABELS, "set": {"figkd.detail_weight": -1.0}}]},
            r"'labels': distill\.figkd\.detail_weight = -1\.0",
        ),
        (
            {"entries": [{**LABELS, "set": {"figkd.kd_share": 1.0}}]},
            r"'labels': distill\.figkd\.kd_share is now distill\.figkd\.kd_weight",
        ),
        ({"entries": [{**LABELS, "tune": {"lr.of": [1, 2]}}]}, r"'labels': distill\.lr = "),
    ],
)
def test_a_comparison_that_cannot_run_is_refused_before_any_training(tmp_path, changes, message):
    with pytest.raises(ParameterError, match=message):
        load(tmp_path, **changes)
