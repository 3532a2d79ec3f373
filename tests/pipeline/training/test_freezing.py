import pytest
import torch
from torch import nn

from pipeline.errors import ParameterError
from pipeline.models.classifier import Classifier, Spec, build_classifier
from pipeline.training.freezing import learn_all, learn_head


def changed_by_a_step(model):
    """Names of weights and statistics that a step with a large rate changes."""
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    model(torch.rand(4, 3, 32, 32)).square().sum().backward()
    optimizer.step()
    return {n for n, tensor in model.state_dict().items() if not torch.equal(before[n], tensor)}


def test_only_the_classifier_layer_learns_until_all_layers_do():
    torch.manual_seed(0)
    model = build_classifier("test_efficientnet", ("a", "b", "c"), 32)
    head = {"backbone.classifier.weight", "backbone.classifier.bias"}
    learn_head(model)
    assert changed_by_a_step(model) == head
    learn_all(model)
    assert model.training
    changed = changed_by_a_step(model)
    assert changed > head
    assert any("running_mean" in name for name in changed)


@pytest.mark.parametrize("backbone", [nn.Flatten(), nn.Sequential(nn.Flatten(), nn.Linear(3, 2))])
def test_a_network_without_a_layer_to_learn_alone_is_refused(backbone):
    model = Classifier(backbone, Spec("plain", ("a", "b"), 1, (0.5,) * 3, (0.5,) * 3))
    with pytest.raises(ParameterError, match=r"has no classifier layer .*freeze_epochs to 0"):
        learn_head(model)
