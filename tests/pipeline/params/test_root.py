import subprocess
import sys
from collections.abc import Iterator

import pytest
from pydantic import BaseModel

from pipeline.params import Compare, Scout, load_params, params_model
from pipeline.params.reference import markdown
from tests.pipeline.params.own_file import FILE, PROJECT, leaves, refusal

ORT = "name: a, runtime: onnxruntime, precision"
QAT = "name: b, runtime: openvino, precision: int8, method: qat"


def sections(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    yield model
    for field in model.model_fields.values():
        for kind in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from sections(kind)


def test_the_projects_own_file_is_short_and_valid():
    assert len(FILE.read_text(encoding="utf-8").splitlines()) <= 80
    params = load_params(FILE)
    assert params_model().model_validate(params.model_dump()) == params


def test_every_parameter_has_a_description():
    found = [*sections(params_model()), *sections(Compare), *sections(Scout)]
    missing = [
        f"{section.__name__}.{name}"
        for section in found
        for name, field in section.model_fields.items()
        if not (field.description or "").endswith(".")
    ]
    assert missing == []
    assert len(found) > 10


@pytest.mark.parametrize("kind", ["markdown", "schema"])
def test_the_generated_reference_is_up_to_date(kind):
    file = {"markdown": "parameters.md", "schema": "params.schema.json"}[kind]
    made = subprocess.run(
        [sys.executable, "-m", "pipeline.params.reference", kind],
        cwd=PROJECT, capture_output=True, text=True, encoding="utf-8", check=True,
    )  # fmt: skip
    assert (PROJECT / "docs" / file).read_text(encoding="utf-8") == made.stdout, "run: make docs"


def test_the_reference_has_every_parameter_with_limits_and_default():
    text = "".join(markdown())
    for key in leaves(load_params(FILE).model_dump()):
        assert f"`{key[0].rpartition('.')[2]}`" in text
    assert "| `lr` | number > 0, ≤ 1,000,000 | required | Peak learning rate." in text
    assert "### distill.figkd" in text and "### quantize.candidates[]" in text


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["prepare.fractions.train=0.5"], "prepare.fractions: train + val + test = 0.9"),
        (
            ["prepare.fractions={train: 0.6, val: 0.6, test: 0.2}"],
            "prepare.fractions: train + val + test = 1.4",
        ),
        (["prepare.fractions={train: 0.6, val: 0.4, test: 0}"], "prepare.fractions.test = 0"),
        (["prepare.source=folder"], "needs `path`"),
        (["prepare.source=grocery_store", "prepare.path=''"], "needs `path`"),
        (["prepare.split=published"], "elpv"),
        (["prepare.split=published", "prepare.source=typefaces"], "publishes no splits"),
        (["prepare.source=csv"], "needs `path`, the table"),
        (["prepare.group_by=("], "prepare.group_by: '('"),
        (["prepare.group_by=capture_dya"], "did you mean capture_day"),
        (["prepare.group_by=nest"], "'nest' is not a known group"),
        (["finetune.pretrained=file"], "finetune: `weights`"),
        (["finetune.weights=w.safetensors"], "finetune: `weights`"),
        (["distill.pretrained=file"], "distill: `weights`"),
        (["distill.weights=w.safetensors"], "distill: `weights`"),
        (["cache_logits.views=0", "cache_logits.pack_views=true"], "cache_logits: `pack_views`"),
        (["cache_logits.views=-1"], "cache_logits.views = -1"),
        (
            ["cache_logits.views=0", "distill.class_order.kind=similarity"],
            "distill.class_order.similarity = 'logits' needs cached logits",
        ),
        (["distill.class_order.kind=file"], "distill.class_order: set `file`"),
        (["distill.class_order.file=order.txt"], "distill.class_order: set `file`"),
        ([f"quantize.candidates=[{{{ORT}: int8}}]"], "must be onnxruntime fp32"),
        ([f"quantize.candidates=[{{{ORT}: fp32}}, {{{ORT}: int8}}]"], "same name: a"),
        (
            [f"quantize.candidates=[{{{ORT}: fp32}}, {{{QAT}}}]"],
            "candidate 'b' has method qat, but qat.epochs is 0",
        ),
        (["qat.epochs=-1"], "qat.epochs = -1"),
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
def test_parameters_that_contradict_each_other_are_refused(overrides, message):
    assert message in refusal(FILE, *overrides)


def test_parameters_are_immutable():
    params = load_params(FILE)
    with pytest.raises(ValueError, match="frozen"):
        params.run.seed = 7
