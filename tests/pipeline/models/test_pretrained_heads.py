"""Rows of a pretrained head are matched by class name."""

import json

import pytest
import torch
from safetensors.torch import save_file

from pipeline.errors import ParameterError
from pipeline.models.classifier import WEIGHTS, build_classifier, save_classifier
from pipeline.models.pretrained import init_classifier
from tests.pipeline.models.pretrained_networks import (
    LITE0,
    TINY,
    classes,
    load,
    network,
    package_tensors,
)

ORDER = ("1", "10", "11", "2")  # as strings sort
NATURAL = ("1", "2", "10", "11")


@pytest.fixture
def trained():
    """A network that tells ``NATURAL`` classes of gray images apart, by their brightness."""
    torch.manual_seed(0)
    model = build_classifier(TINY, NATURAL, 32).eval()
    levels = (torch.arange(4) + 0.5) / 4
    images = levels.repeat_interleave(3)[:, None, None, None].expand(-1, 3, 32, 32).clone()
    with torch.no_grad():
        features = model.backbone.forward_features((images - model.mean) / model.std)
        features = model.backbone.forward_head(features, pre_logits=True)
        target = torch.nn.functional.one_hot(torch.arange(4).repeat_interleave(3), 4).float()
        ones = torch.ones(len(features), 1)
        solved = torch.linalg.lstsq(torch.cat([features, ones], 1), target, driver="gelsd").solution
        model.backbone.classifier.weight.copy_(solved[:-1].T)
        model.backbone.classifier.bias.copy_(solved[-1])
    names = [NATURAL[row] for row in torch.arange(4).repeat_interleave(3)]
    return model, images, names


def accuracy(model, images, names):
    with torch.inference_mode():
        found = model.eval()(images).argmax(1)
    return sum(model.spec.classes[row] == name for row, name in zip(found, names, strict=True)) / 12


@pytest.mark.parametrize("where", ["parameter", "checkpoint", "metadata", "beside", "model.json"])
def test_rows_in_another_order_are_matched_by_name(tmp_path, trained, where):
    donor, images, names = trained
    path, options = tmp_path / "w.pth", {}
    state = {f"module.{name}": t for name, t in donor.backbone.state_dict().items()}
    if where == "checkpoint":
        index = {name: row for row, name in enumerate(NATURAL)}
        torch.save({"model": state, "class_to_idx": index}, path)
    elif where == "metadata":
        save_file(state, path, {"classes": json.dumps(NATURAL)})
    elif where == "model.json":
        save_classifier(tmp_path / "m", donor, {})
        path = tmp_path / "m" / WEIGHTS
    else:
        torch.save(state, path)
        (tmp_path / "labels.txt").write_text("\n".join(NATURAL))
    if where == "parameter":
        (tmp_path / "labels.txt").rename(tmp_path / "mine.txt")
        options = {"class_names": str(tmp_path / "mine.txt")}
    started = init_classifier(network(weights=str(path), **options), ORDER, 32)
    assert started.untrained == ()
    assert accuracy(donor, images, names) == 1.0
    assert accuracy(started.model, images, names) == 1.0
    by_position = init_classifier(network(weights=str(path), head="keep"), ORDER, 32)
    assert accuracy(by_position.model, images, names) < 0.5


def test_a_checkpoint_may_know_more_classes_and_lack_some(tmp_path, trained):
    donor, images, names = trained
    torch.save({"state_dict": donor.backbone.state_dict(), "classes": NATURAL}, tmp_path / "w.pt")
    fewer = init_classifier(network(weights=str(tmp_path / "w.pt")), ("11", "2"), 32)
    assert fewer.untrained == ()
    kept = [number for number, name in enumerate(names) if name in ("11", "2")]
    with torch.inference_mode():
        found = fewer.model.eval()(images[kept]).argmax(1)
    assert [("11", "2")[row] for row in found] == [names[number] for number in kept]
    more = init_classifier(network(weights=str(tmp_path / "w.pt")), ("11", "12", "2"), 32)
    assert more.untrained == ("12",)
    assert any("12" in remark for remark in more.remarks)
    with pytest.raises(ParameterError, match=r"finetune\.epochs = 0.*12.*finetune\.class_names"):
        more.check_trained("finetune")
    fewer.check_trained("finetune")


def test_a_teacher_of_other_classes_is_refused_without_training(tmp_path, trained):
    donor, _, _ = trained
    torch.save({"state_dict": donor.backbone.state_dict(), "classes": NATURAL}, tmp_path / "w.pt")
    classes = tuple(f"kind {number:02}" for number in range(12))
    started = init_classifier(network(weights=str(tmp_path / "w.pt")), classes, 32)
    with pytest.raises(ParameterError) as caught:
        started.check_trained("finetune")
    text = str(caught.value)
    assert "12 of 12 classes have no row in the weights: kind 00, " in text
    assert "kind 07 and 4 more" in text
    assert f"no class of the data: {', '.join(NATURAL)}" in text
    assert "\n" not in text


def test_given_names_must_be_as_many_as_the_rows(tmp_path, trained):
    donor, _, _ = trained
    torch.save(donor.backbone.state_dict(), tmp_path / "w.pt")
    (tmp_path / "names.txt").write_text("1\n2\n10\n")
    options = {"weights": str(tmp_path / "w.pt"), "class_names": str(tmp_path / "names.txt")}
    with pytest.raises(ParameterError, match=r"names\.txt: .*3 class names.*4 rows"):
        init_classifier(network(**options), NATURAL, 32)


def test_without_names_the_head_starts_fresh_and_says_how_to_keep_it(tmp_path, trained):
    donor, _, _ = trained
    torch.save(donor.backbone.state_dict(), tmp_path / "w.pt")
    started = init_classifier(network(weights=str(tmp_path / "w.pt")), NATURAL, 32)
    assert started.untrained == NATURAL
    text = " ".join(started.remarks)
    assert "class_names" in text
    assert "head: keep" in text
    own = started.model.backbone.classifier.weight
    assert not torch.equal(own, donor.backbone.classifier.weight)


def test_a_thousand_classes_are_not_taken_for_those_of_imagenet():
    package_tensors()
    model = build_classifier(LITE0, classes(1000), 64)
    fresh = model.backbone.classifier.weight.clone()
    started = load(model, pretrained="package")
    assert torch.equal(model.backbone.classifier.weight, fresh)
    assert any("head: keep" in remark for remark in started.remarks)
    assert load(build_classifier(LITE0, classes(8), 64), pretrained="package").remarks == ()
