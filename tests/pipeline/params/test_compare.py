import pytest
import yaml

from pipeline.params import load_params
from tests.pipeline.params.own_file import FILE, refusal


def comparison(tmp_path, **changes):
    """A file whose comparison has two entries, and something changed."""
    raw = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    entries = [
        {"name": "labels", "set": {"method": "cross_entropy"}, "tune": {"lr": [0.1, 0.2]}},
        {"name": "mse", "set": {"method": "logit_mse"}, "tune": {"logit_mse.weight": [0.1, 1.0]}},
    ]
    raw["compare"] = {"entries": entries, "trials": 2, "against": ["labels"], **changes}
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(raw, sort_keys=False))
    return path


def test_an_entrys_settings_are_all_combinations_of_what_it_tunes(tmp_path):
    entry = {"name": "kd", "set": {"method": "kd"}}
    entry["tune"] = {"kd.weight": [1.0, 3.0], "kd.temperature": [2.0, 4.0]}
    path = comparison(tmp_path, entries=[entry], trials=4, against=[])
    (found,) = load_params(path).compare.entries
    assert found.settings() == [
        {"kd.weight": 1.0, "kd.temperature": 2.0},
        {"kd.weight": 1.0, "kd.temperature": 4.0},
        {"kd.weight": 3.0, "kd.temperature": 2.0},
        {"kd.weight": 3.0, "kd.temperature": 4.0},
    ]


def test_an_entry_replaces_a_section_whole_so_that_what_stood_in_it_is_gone(tmp_path):
    entry = {"name": "shuffled", "set": {"class_order": {"kind": "random"}}, "tune": {"lr": [0.1]}}
    path = comparison(tmp_path, entries=[entry], trials=1, against=[])
    overrides = ["distill.class_order.kind=file", "distill.class_order.file=order.txt"]
    params = load_params(path, overrides)
    order = params.distill.changed(params.compare.entries[0].set).class_order
    assert (order.kind, order.file) == ("random", None)


LABELS = {"name": "labels", "set": {}, "tune": {"lr": [0.1, 0.2]}}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"trials": 3}, "entry 'labels' tries 2 settings, `trials` gives every entry 3"),
        ({"trial_folds": 9}, "trial_folds 9 is more than there are folds"),
        ({"against": ["lables"]}, "'lables' is no entry (close names: labels)"),
        ({"entries": [LABELS, LABELS]}, "entries have the same name: labels, labels"),
        (
            {"entries": [{**LABELS, "set": {"figkd.wieght": 1.0}}]},
            "entry 'labels': distill.figkd.wieght is not a parameter (did you mean figkd.weight?)",
        ),
        (
            {"entries": [{**LABELS, "set": {"figkd.weight": -1.0}}]},
            "entry 'labels': distill.figkd.weight = -1.0: must be greater than or equal to 0",
        ),
        (
            {"entries": [{**LABELS, "tune": {"lr.of": [1, 2]}}]},
            "entry 'labels': distill.lr = {'of': 1}: must be a valid number",
        ),
    ],
)
def test_a_comparison_that_cannot_run_is_refused_before_any_training(tmp_path, changes, said):
    assert said in refusal(comparison(tmp_path, **changes))
