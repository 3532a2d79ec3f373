import pytest
import torch
from torch import nn

from pipeline.errors import ParameterError
from pipeline.losses import CrossEntropy
from pipeline.models.classifier import build_classifier
from pipeline.params import Distill, Finetune
from pipeline.training.batch_size import check_batch_norm
from pipeline.training.process_rank import ProcessRank
from tests.pipeline.training.toy_models import (
    SIZE,
    classifier,
    colored,
    recipe,
    run,
    small_net,
)

CPU = torch.device("cpu")


def batch_norm_net(pooled=True):
    """Batch norm on one value per image and channel if ``pooled``, else on 64."""
    torch.manual_seed(0)
    pool = [nn.AdaptiveAvgPool2d(1)] if pooled else []
    layers = [nn.Conv2d(3, 4, 3, stride=2, padding=1), *pool, nn.BatchNorm2d(4)]
    return classifier(
        nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)), 3
    )


@pytest.mark.parametrize(
    ("images", "changes"),
    [
        (6, {"batch_size": 1}),
        (6, {"batch_size": 4, "accumulate": 4}),
        (3, {"batch_size": 2}),  # batches of 2 and 1
    ],
)
def test_batch_norm_over_one_value_is_refused_before_training(images, changes):
    split, model = colored(images, seed=1), batch_norm_net()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ParameterError, match=r"batch_size = \d: .*1 image .*accumulate") as caught:
        run(model, CrossEntropy(), recipe(**changes), split, split)
    assert caught.value.remedy
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("model", [small_net(3), batch_norm_net(pooled=False)])
def test_networks_that_can_be_trained_on_one_image_are(model):
    split = colored(3, seed=1)
    settings = recipe(epochs=1, batch_size=1, lr=0.001)
    assert len(run(model, CrossEntropy(), settings, split, split).history) == 1


def test_frozen_batch_norm_may_see_one_image():
    torch.manual_seed(0)
    model = build_classifier("test_efficientnet", ("a", "b", "c"), SIZE)
    split, settings = colored(3, seed=1), recipe(epochs=1, batch_size=1, lr=0.001)
    with pytest.raises(ParameterError, match="batch norm of test_efficientnet"):
        run(model, CrossEntropy(), settings, split, split)
    settings = settings.model_copy(update={"freeze_epochs": 1})
    frozen = run(model, CrossEntropy(), settings, split, split)
    assert len(frozen.history) == 1


@pytest.mark.parametrize("section", [Finetune, Distill])
def test_one_image_per_process_is_refused_with_the_key_of_the_section(section):
    settings = section(epochs=1, batch_size=3, lr=0.1, weight_decay=0.0)
    key = section.__name__.lower()
    with pytest.raises(ParameterError, match=rf"{key}\.batch_size = 3.*world size 2"):
        check_batch_norm(batch_norm_net(), settings, 6, ProcessRank(0, 2, 0), CPU)
    check_batch_norm(batch_norm_net(), settings, 6, ProcessRank(), CPU)
    cuda = torch.device("cuda")  # synchronized there
    check_batch_norm(batch_norm_net(), settings, 6, ProcessRank(0, 2, 0), cuda)
