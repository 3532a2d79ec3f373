import json
import subprocess
import sys
from collections.abc import Iterator

import pytest
import yaml
from pydantic import BaseModel

from pipeline.params import Candidate, Params, load_params
from tests.pipeline.params.own_file import FILE, PROJECT, leaves, refusal

ORT = "name: a, runtime: onnxruntime, precision"
AWARE = "name: b, runtime: openvino, precision: int8, method: qat"


def sections(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    yield model
    for field in model.model_fields.values():
        for kind in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from sections(kind)


def test_the_projects_own_file_loads_and_names_every_parameter():
    written = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    meant = load_params(FILE).model_dump()
    # A candidate's line says only where it departs from the defaults.
    lines = zip(written["quantize"]["candidates"], meant["quantize"]["candidates"], strict=True)
    for line, candidate in lines:
        for option in candidate.keys() - line.keys():
            assert candidate.pop(option) == Candidate.model_fields[option].default
    assert dict(leaves(written)) == dict(leaves(meant))


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
        (
            [f"quantize.candidates=[{{{ORT}: fp32}}, {{{AWARE}}}]"],
            "candidate 'b' has method qat, and qat.epochs is 0; raise that",
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
def test_parameters_at_odds_with_each_other_are_refused(overrides, said):
    assert said in refusal(FILE, *overrides)


def test_parameters_cannot_be_changed_once_read():
    params = load_params(FILE)
    with pytest.raises(ValueError, match="frozen"):
        params.run.seed = 7
