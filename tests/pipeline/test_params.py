import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pywt
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from pipeline.errors import ParameterError
from pipeline.params import FiGKD, Params, load_params

PROJECT = Path(__file__).parents[2]
FILE = PROJECT / "params.yaml"


def refusal(path, *overrides):
    with pytest.raises(ParameterError) as caught:
        load_params(path, overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message


def leaves(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, f"{prefix}.{key}" if prefix else key)
    else:
        yield prefix, value


def sections(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    yield model
    for field in model.model_fields.values():
        for kind in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from sections(kind)


def test_the_projects_own_file_loads_and_names_every_parameter():
    written = dict(leaves(yaml.safe_load(FILE.read_text(encoding="utf-8"))))
    meant = dict(leaves(load_params(FILE).model_dump()))
    assert written == meant


def test_every_parameter_says_what_it_means():
    silent = [
        f"{section.__name__}.{name}"
        for section in sections(Params)
        for name, field in section.model_fields.items()
        if not (field.description or "").endswith(".")
    ]
    assert silent == []
    assert len(list(sections(Params))) > 10


def test_the_schema_for_editors_is_up_to_date():
    made = subprocess.run(
        [sys.executable, "-m", "pipeline.params"],
        cwd=PROJECT, capture_output=True, text=True, encoding="utf-8", check=True,
    )  # fmt: skip
    kept = (PROJECT / "docs/params.schema.json").read_text(encoding="utf-8")
    assert json.loads(kept) == json.loads(made.stdout) == Params.model_json_schema(), "make schema"


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("dsitill.lr", "distill"),
        ("run.sed", "run.seed"),
        ("distill.figkd.wieght", "distill.figkd.weight"),
        ("distill.class_order.knd", "distill.class_order.kind"),
        ("prepare.fractions.valid", "prepare.fractions.val"),
        ("evaluate.round", "evaluate.rounds"),
        ("finetune.learning_rte", "the known ones"),
    ],
)
def test_a_misspelt_parameter_is_answered_with_the_nearest_right_name(wrong, right):
    message = refusal(FILE, f"{wrong}=1")
    shown = "dsitill" if wrong.startswith("dsitill") else wrong
    assert f"{shown} is not a parameter" in message
    if right == "the known ones":
        assert "known here: " in message
        assert "lr" in message.split("known here: ")[1].rstrip(")").split(", ")
    else:
        assert f"did you mean {right}?" in message


def test_a_misspelt_key_inside_the_list_of_candidates_is_named_with_its_place(tmp_path):
    params = yaml.safe_load(FILE.read_text())
    candidate = params["quantize"]["candidates"][1]
    candidate["prcision"] = candidate.pop("precision")
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(params))
    message = refusal(path)
    assert "quantize.candidates.1.precision is missing" in message
    assert "did you mean quantize.candidates.1.precision?" in message


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("run.seed='1'", "run.seed = '1'"),
        ("run.seed=1.0", "run.seed = 1.0"),
        ("run.seed=true", "run.seed = True"),
        ("run.seed=", "run.seed = None"),
        ("run=3", "run = 3"),
        ("finetune=null", "finetune = None"),
        ("views.horizontal_flip=1", "views.horizontal_flip = 1"),
        ("views.horizontal_flip='yes'", "views.horizontal_flip = 'yes'"),
        ("distill.lr=fast", "distill.lr = 'fast'"),
        ("distill.model=7", "distill.model = 7"),
        ("prepare.path=[a]", "prepare.path = ['a']"),
        ("quantize.candidates={}", "quantize.candidates = {}"),
    ],
)
def test_a_wrong_type_is_refused_with_the_key_and_the_value(override, said):
    assert f"{said}: " in refusal(FILE, override)


@pytest.mark.parametrize(
    "override",
    [
        "run.seed=-1",
        "run.device=tpu",
        "prepare.image_size=15",
        "prepare.block=0",
        "views.crop_scale=0",
        "views.crop_scale=1.01",
        "views.brightness=-0.1",
        "finetune.epochs=0",
        "distill.lr=0",
        "distill.lr=.nan",
        "distill.lr=.inf",
        "distill.ema_decay=1",
        "distill.figkd.level=0",
        "distill.figkd.temperature=0",
        "distill.method=fgkd",
        "distill.figkd.weight=-0.1",
        "distill.kd.weight=-0.1",
        "distill.kd.label_weight=-0.1",
        "distill.dkd.alpha=-0.1",
        "distill.dkd.beta=-0.1",
        "distill.dist.gamma=-0.1",
        "distill.dist.temperature=0",
        "distill.logit_mse.weight=-0.1",
        "distill.class_order.kind=alphabet",
        "distill.class_order.similarity=colour",
        "export.opset=17",
        "evaluate.rounds=2",
        "bundle.max_drop=-1",
        "bundle.name=../up",
        "quantize.candidates=[]",
    ],
)
def test_an_impossible_value_is_refused_with_its_key(override):
    assert f": {override.split('=')[0]} = " in refusal(FILE, override)


@pytest.mark.parametrize(
    ("key", "value", "near"),
    [
        ("distill.figkd.wavelet", "harr", "haar"),
        ("distill.figkd.wavelet", "db99", "db9"),
        ("distill.figkd.wavelet", "morl", "db2"),  # known to PyWavelets, but continuous
        ("distill.figkd.mode", "symetric", "symmetric"),
    ],
)
def test_an_unknown_wavelet_or_mode_is_answered_with_names_that_exist(key, value, near):
    message = refusal(FILE, f"{key}={value}")
    assert f"{key}: {value!r} is no " in message
    assert near in message.split("(")[1].rstrip(")").replace(": ", ", ").split(", ")


def test_every_discrete_wavelet_and_mode_of_pywavelets_is_allowed():
    wavelets, modes = pywt.wavelist(kind="discrete"), pywt.Modes.modes
    assert all(FiGKD(wavelet=wavelet).wavelet == wavelet for wavelet in wavelets)
    assert all(FiGKD(mode=mode).mode == mode for mode in modes)


ORT = "name: a, runtime: onnxruntime, precision"


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["prepare.fractions.train=0.5"], "add up to 0.9"),
        (["prepare.fractions={train: 0.6, val: 0.6, test: 0.2}"], "add up to 1.4"),
        (["prepare.fractions={train: 0.6, val: 0.4, test: 0}"], "prepare.fractions.test = 0"),
        (["prepare.source=folder"], "needs `path`"),
        (["prepare.source=grocery_store", "prepare.path=''"], "needs `path`"),
        (["prepare.split=published"], "elpv"),
        (["prepare.split=published", "prepare.source=typefaces"], "publishes no splits"),
        (["prepare.source=csv"], "needs `path`, the table"),
        (["prepare.group_by=("], "prepare.group_by: '(' is no regular expression"),
        (["finetune.pretrained=file"], "go together"),
        (["finetune.weights=w.safetensors"], "go together"),
        (["distill.pretrained=file"], "distill: `weights` and `pretrained: file` go together"),
        (["distill.weights=w.safetensors"], "go together"),
        (["cache_logits.views=0", "cache_logits.pack_views=true"], "cache_logits: `pack_views`"),
        (["cache_logits.views=-1"], "cache_logits.views = -1"),
        (
            ["cache_logits.views=0", "distill.class_order.kind=similarity"],
            "distill.class_order.similarity: logits needs cached logits",
        ),
        (["distill.class_order.kind=file"], "distill.class_order: `file` and `kind: file`"),
        (["distill.class_order.file=order.txt"], "distill.class_order: `file` and `kind: file`"),
        ([f"quantize.candidates=[{{{ORT}: int8}}]"], "must be onnxruntime fp32"),
        ([f"quantize.candidates=[{{{ORT}: fp32}}, {{{ORT}: int8}}]"], "same name: a"),
        ([f"quantize.candidates=[{{{ORT}: fp16}}]"], "use openvino"),
        (
            ["quantize.candidates=[{name: teacher, runtime: onnxruntime, precision: fp32}]"],
            "'teacher'",
        ),
        (
            ["quantize.candidates=[{name: ../../x, runtime: onnxruntime, precision: fp32}]"],
            "quantize.candidates.0.name = '../../x'",
        ),
    ],
)
def test_parameters_at_odds_with_each_other_are_refused(overrides, said):
    assert said in refusal(FILE, *overrides)


def test_all_problems_are_told_at_once():
    message = refusal(FILE, "run.seed=-1", "distill.lr=-2", "evaluate.runz=4")
    assert all(key in message for key in ("run.seed", "distill.lr", "evaluate.runs"))


def test_overrides_change_what_they_name_and_nothing_else():
    before = dict(leaves(load_params(FILE).model_dump()))
    params = load_params(
        FILE, ["distill.figkd.weight=2.5", "run.device=cpu", "distill.figkd.weight=3"]
    )
    after = dict(leaves(params.model_dump()))
    assert {key: after[key] for key in after if after[key] != before[key]} == {
        "distill.figkd.weight": 3.0,
        "run.device": "cpu",
    }


def test_an_override_may_hold_equals_signs_and_start_a_section_that_the_file_lacks(tmp_path):
    raw = yaml.safe_load(FILE.read_text())
    del raw["bundle"]
    raw["views"] = None
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(raw))
    params = load_params(
        path, ["views.seed=3", "bundle.max_drop=2", "prepare.path=/a=b", "prepare.source=folder"]
    )
    assert (params.views.seed, params.bundle.max_drop) == (3, 2.0)
    assert params.prepare.path == "/a=b"


@pytest.mark.parametrize(
    "override",
    ["run.seed", "=3", "run.seed=[1", "run.seed.deeper=1", "quantize.candidates.0.name=x", ".=1"],
)
def test_a_malformed_override_is_refused(override):
    refusal(FILE, override)


@given(
    st.floats(1e-300, 1e300),
    st.sampled_from(["{:e}", "{:E}", "{:.0e}", "{:+.3e}", "{!r}", "{:.17g}"]),
)
def test_a_number_may_be_written_as_python_writes_it(number, style):
    text = style.format(number)
    assert load_params(FILE, [f"distill.lr={text}"]).distill.lr == float(text)


def test_the_short_exponent_is_a_number_in_the_file_too_and_text_stays_text(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(FILE.read_text().replace("lr: 0.01\n", "lr: 1e-2\n"))
    params = load_params(path, ["bundle.name=e3", "finetune.model='1e3'"])
    assert params.finetune.lr == 0.01
    assert (params.bundle.name, params.finetune.model) == ("e3", "1e3")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "just words",
        "- a\n- list\n",
        "run: {seed: 1",
        "run: *nowhere\n",
        "? [1, 2]\n: 3\n",
        "run: \0\n",
        "run: 2024-99-01\n",
        "[" * 1000,
        "1: 2\n",
        "null: 2\n",
        "run: &run\n  again: *run\n",
    ],
)
def test_a_file_that_is_no_mapping_of_sections_is_refused(tmp_path, text):
    path = tmp_path / "params.yaml"
    path.write_text(text)
    assert refusal(path).startswith(f"{path}: ")


def test_a_file_that_is_not_utf8_or_not_there_is_refused(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_bytes(b"run: \xff\xfe\n")
    assert "valid YAML" in refusal(path)
    assert "No such file" in refusal(tmp_path / "none.yaml")
    assert "directory" in refusal(tmp_path)


@pytest.mark.parametrize("by_override", [False, True])
def test_yaml_that_makes_objects_is_refused_and_runs_nothing(tmp_path, by_override):
    mark = tmp_path / "mark"
    attack = f"!!python/object/apply:os.mkdir [{mark}]"
    path = tmp_path / "params.yaml"
    path.write_text(f"run: {attack}\n")
    if by_override:
        refusal(FILE, f"run.seed={attack}")
    else:
        assert "python/object" in refusal(path)
    assert not mark.exists()
    # The attack is a real one: the loader that trusts its input obeys.
    yaml.unsafe_load(path.read_text())
    assert mark.exists()


def test_parameters_cannot_be_changed_once_read():
    params = load_params(FILE)
    with pytest.raises(ValueError, match="frozen"):
        params.run.seed = 7


def test_the_reference_is_the_fp32_student_wherever_it_stands():
    candidates = (
        "[{name: b, runtime: openvino, precision: fp32}, {name: c, runtime: onnxruntime,"
        " precision: int8}, {name: a, runtime: onnxruntime, precision: fp32}]"
    )
    params = load_params(FILE, [f"quantize.candidates={candidates}"])
    assert params.quantize.reference.name == "a"


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


def test_changed_leaves_the_rest_as_it_was():
    distill = load_params(FILE).distill
    changed = distill.changed({"figkd.level": 3, "lr": 0.5})
    assert (changed.figkd.level, changed.lr) == (3, 0.5)
    assert changed.changed({"figkd.level": distill.figkd.level, "lr": distill.lr}) == distill


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
