"""Classifiers of images that are not square, from their weights to the exported file."""

import json

import numpy as np
import onnx
import pytest
import torch

from pipeline.export.onnx_export import export_onnx
from pipeline.export.onnx_metadata import MadeFrom, describe, read_image_size
from pipeline.export.parity import check_parity
from pipeline.models.classifier import (
    build_classifier,
    gray_classifier,
    load_classifier,
    save_classifier,
)
from pipeline.models.inference import measure_cost

CLASSES, SIZE = ("ape", "bee", "cat"), (32, 48)


@pytest.mark.parametrize(("name", "channels"), [("test_efficientnet", 1), ("test_vit", 3)])
def test_a_saved_and_exported_classifier_has_the_same_shape(tmp_path, name, channels):
    torch.manual_seed(0)
    model = build_classifier(name, CLASSES, SIZE)
    if channels == 1:
        model = gray_classifier(model)
    save_classifier(tmp_path / "model", model.eval(), {})
    loaded, _ = load_classifier(tmp_path / "model", torch.device("cpu"))
    assert loaded.spec == model.spec and loaded.spec.image_size == SIZE

    images = np.random.default_rng(0).integers(0, 256, (9, *SIZE, channels), dtype=np.uint8)
    path, spec = tmp_path / "student.onnx", loaded.spec
    metadata = describe(spec, "crop", MadeFrom("5" * 64, "d" * 64))
    export_onnx(loaded.backbone, spec, path, batch="dynamic", opset=18, metadata=metadata)
    check_parity(loaded.backbone, spec, path, images, tolerance=1e-4)
    assert read_image_size(path) == SIZE
    entries = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    described = json.loads(entries["finch.input"])
    assert (described["height"], described["width"]) == SIZE


def test_multiply_adds_are_those_of_the_rectangle():
    """Per pixel, those of a network without a classifier layer are the same for every shape."""
    square, wide, high = (
        measure_cost(build_classifier("cifar_resnet8", CLASSES, size))
        for size in (32, (32, 64), (64, 32))
    )
    head = 64 * len(CLASSES)
    assert wide == high
    assert wide.multiply_adds - head == 2 * (square.multiply_adds - head)
    assert wide.parameters == square.parameters
