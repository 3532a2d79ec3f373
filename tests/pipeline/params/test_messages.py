import re

import pytest
import yaml

from tests.pipeline.params.own_file import FILE, refusal


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("dsitill.lr", "distill"),
        ("run.sed", "run.seed"),
        ("distill.figkd.wavlet", "distill.figkd.wavelet"),
        ("distill.class_order.knd", "distill.class_order.kind"),
        ("prepare.fractions.valid", "prepare.fractions.val"),
        ("evaluate.round", "evaluate.rounds"),
        ("finetune.learning_rte", "the known ones"),
    ],
)
def test_a_misspelled_parameter_is_refused_with_the_closest_name(wrong, right):
    message = refusal(FILE, f"{wrong}=1")
    shown = "dsitill" if wrong.startswith("dsitill") else wrong
    assert f"{shown} is not a parameter" in message
    if right == "the known ones":
        assert "known: " in message
        assert "lr" in message.split("known: ")[1].rstrip(")").split(", ")
    else:
        assert f"did you mean {right}?" in message


def test_a_misspelled_key_in_the_list_of_candidates_is_refused_with_its_index(tmp_path):
    params = yaml.safe_load(FILE.read_text())
    candidate = params["quantize"]["candidates"][1]
    candidate["prcision"] = candidate.pop("precision")
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(params))
    message = refusal(path)
    assert "quantize.candidates.1: 'prcision'" in message
    assert "did you mean precision" in message


@pytest.mark.parametrize(
    ("override", "shown"),
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
def test_a_wrong_type_is_refused_with_the_key_and_the_value(override, shown):
    assert f"{shown}: " in refusal(FILE, override)


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
        "finetune.epochs=-1",
        "distill.lr=0",
        "distill.lr=.nan",
        "distill.lr=.inf",
        "distill.ema_decay=1",
        "distill.figkd.level=0",
        "distill.figkd.temperature=0",
        "distill.method=fgkd",
        "distill.figkd.detail_weight=-0.1",
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
    key, _, value = override.partition("=")
    message = refusal(FILE, override)
    assert f": {key} = " in message or f": {key}: {value!r}" in message


@pytest.mark.parametrize(
    ("key", "value", "near"),
    [
        ("distill.figkd.wavelet", "harr", "haar"),
        ("distill.figkd.wavelet", "db99", "db9"),
        ("distill.figkd.wavelet", "morl", "db2"),  # known to PyWavelets, but continuous
        ("distill.figkd.mode", "symetric", "symmetric"),
    ],
)
def test_an_unknown_wavelet_or_mode_is_refused_with_known_names(key, value, near):
    message = refusal(FILE, f"{key}={value}")
    assert f"{key}: {value!r}" in message
    assert re.search(rf"[( ]{near}[,?)]", message)


def test_all_problems_are_reported_at_once():
    message = refusal(FILE, "run.seed=-1", "distill.lr=-2", "evaluate.runz=4")
    assert all(key in message for key in ("run.seed", "distill.lr", "evaluate.runs"))


@pytest.mark.parametrize(
    "key", ["run.seed", "distill.method", "bundle.name", "bundle.device", "finetune.pretrained"]
)
def test_a_message_does_not_repeat_a_very_long_value(key):
    message = refusal(FILE, f"{key}={'x' * 5000}")
    assert key in message
    assert "(5002 characters)" in message
    assert len(message) < 1000


@pytest.mark.parametrize("key", ["prepare.path", "finetune.model", "run.device"])
@pytest.mark.parametrize("value", [r'"a\0b"', r'"\ud800"'])
def test_what_no_file_name_can_hold_is_refused(key, value):
    assert f"{key}: " in refusal(FILE, f"{key}={value}")
    assert "no file name" in refusal(FILE, f"{key}={value}")


@pytest.mark.parametrize(
    ("override", "right"),
    [
        ("epochs=2", "finetune.epochs or distill.epochs or qat.epochs"),
        ("bundle.epoch=2", "finetune.epochs or distill.epochs or qat.epochs"),
        ("wavelet=haar", "distill.figkd.wavelet"),
        ("distill.wavelet=haar", "distill.figkd.wavelet"),
        ("exprt={}", "export"),
    ],
)
def test_the_sections_of_a_parameter_are_proposed(override, right):
    assert f"did you mean {right}?" in refusal(FILE, override)
