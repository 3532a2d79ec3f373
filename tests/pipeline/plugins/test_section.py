from typing import get_args

import pytest

from pipeline.errors import ParameterError
from pipeline.params import Compare, Scout, load_params, params_model
from pipeline.plugins.section import HIDDEN, LocalText, Section
from tests.small_project import PROJECT

HOME = "/home/alice/clients/secret-project"
# Text that names a file or a machine, but no private one.
NOT_PRIVATE = {
    "bundle.name",  # part of the archive's name
    "bundle.device",  # names of devices are public
    "distill.class_order.kind",
    "evaluate.devices.name",
    "finetune.pretrained",
    "distill.pretrained",
}


def text_fields(model, place=""):
    """Names and fields of all parameters that hold text, in all nested groups."""
    for name, field in model.model_fields.items():
        path = f"{place}{name}"
        nested = [t for t in parts(field.annotation) if isinstance(t, type)]
        for kind in nested:
            if issubclass(kind, Section):
                yield from text_fields(kind, f"{path}.")
        if str in nested:
            yield path, field


def parts(annotation):
    yield annotation
    for each in get_args(annotation):
        yield from parts(each)


@pytest.mark.parametrize("model", [params_model(), Scout, Compare], ids=lambda m: m.__name__)
def test_every_parameter_that_holds_a_path_or_a_machine_is_local(model):
    words = ("path", "file", "folder", "host", "regular expression", "table")
    for name, field in text_fields(model):
        says_so = any(word in (field.description or "").lower() for word in words)
        if says_so and name not in NOT_PRIVATE:
            local = {LocalText, *get_args(LocalText)} & {*parts(field.annotation), *field.metadata}
            assert local, f"{name} may hold a path: declare it as LocalText"


def test_public_values_hide_paths_hosts_and_users_at_every_level():
    overrides = [
        f"prepare.path={HOME}/photographs",
        "prepare.source=folder",
        f"prepare.group_by={HOME}/(.*)/",
        "finetune.pretrained=file",
        f"finetune.weights={HOME}/teacher.safetensors",
        "distill.pretrained=file",
        f"distill.weights={HOME}/student.safetensors",
        "distill.class_order.kind=file",
        f"distill.class_order.file={HOME}/order.txt",
        "evaluate.devices=[{name: local}, {name: pi, host: alice@lab-7, folder: /home/alice/f, "
        "python: /home/alice/venv/bin/python}]",
    ]
    params = load_params(PROJECT / "params.yaml", overrides)
    public = params.public()
    assert "alice" in str(params.model_dump())
    assert not [word for word in ("alice", "lab-7", "/home") if word in str(public)]
    assert public["distill"]["weights"] == HIDDEN
    assert [device["name"] for device in public["evaluate"]["devices"]] == ["local", "pi"]


def test_public_values_are_otherwise_the_same():
    params = load_params(PROJECT / "params.yaml")
    public, values = params.public(), params.model_dump()
    for device in (*public["evaluate"]["devices"], *values["evaluate"]["devices"]):
        del device["python"]
    assert public == values


@pytest.mark.parametrize(
    "override",
    [
        "cache_logits.views=1099511627776",
        f"run.seed={10**30}",
        "run.threads=100000",
        "distill.lr=1e308",
        "distill.kd.weight=1e308",
        "prepare.workers=100000",
        "quantize.calibration_images=9999999999",
    ],
)
def test_a_number_far_too_large_is_refused(override):
    key = override.partition("=")[0]
    with pytest.raises(ParameterError, match=rf"{key}\b.*less than"):
        load_params(PROJECT / "params.yaml", [override])
