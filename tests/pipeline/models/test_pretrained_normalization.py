"""The normalization that pretrained weights expect: where it is found, and which is used."""

import argparse
import json
from dataclasses import replace

import pytest
import torch

from pipeline.models.classifier import WEIGHTS, Classifier, save_classifier
from pipeline.models.pretrained import init_classifier
from tests.pipeline.models.pretrained_networks import TINY, classes, network

MEAN, STD = (0.25, 0.5, 0.75), (0.125, 0.25, 0.5)


@pytest.mark.parametrize(
    "where", ["parameter", "args", "pretrained_cfg", "model.json", "config.json"]
)
def test_the_normalization_of_the_weights_is_used(tmp_path, donor, where):
    path, options, entries = tmp_path / "w.pth", {}, {}
    if where == "parameter":
        options = {"mean": list(MEAN), "std": list(STD)}
        entries = {"args": {"mean": [0.1, 0.1, 0.1], "std": [0.1, 0.1, 0.1]}}
    elif where == "args":
        entries = {"args": argparse.Namespace(mean=list(MEAN), std=STD)}
    elif where == "pretrained_cfg":
        entries = {"pretrained_cfg": {"mean": MEAN, "std": STD}}
    elif where == "config.json":
        about = {"architecture": TINY, "pretrained_cfg": {"mean": MEAN, "std": STD}}
        (tmp_path / "config.json").write_text(json.dumps(about))
    if where == "model.json":
        spec = replace(donor.spec, mean=MEAN, std=STD)
        save_classifier(tmp_path / "m", Classifier(donor.backbone, spec), {})
        path = tmp_path / "m" / WEIGHTS
    else:
        torch.save({"state_dict": donor.backbone.state_dict(), **entries}, path)
    started = init_classifier(network(weights=str(path), **options), classes(5), 32)
    assert (started.model.spec.mean, started.model.spec.std) == (MEAN, STD)
    assert started.model.mean.flatten().tolist() == list(MEAN)
    assert any("normalization" in remark for remark in started.remarks)


@pytest.mark.parametrize(
    "entries",
    [
        {},
        {"args": argparse.Namespace(mean=None, std=None)},
        {"meta": {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]}},
        {"args": {"mean": [0.5, 0.5], "std": [0.5, 0.5]}},
        {"args": {"mean": [0.5, 0.5, 0.5], "std": [0, 0, 0]}},
    ],
)
def test_without_a_usable_normalization_that_of_the_network_stays(tmp_path, donor, entries):
    torch.save({"state_dict": donor.backbone.state_dict(), **entries}, tmp_path / "w.pth")
    started = init_classifier(network(weights=str(tmp_path / "w.pth")), classes(5), 32)
    assert (started.model.spec.mean, started.model.spec.std) == (donor.spec.mean, donor.spec.std)
    assert not any("normalization" in remark for remark in started.remarks)


def test_random_weights_take_a_given_normalization():
    given = network(pretrained="none", mean=list(MEAN), std=list(STD))
    assert init_classifier(given, classes(5), 32).model.spec.mean == MEAN
