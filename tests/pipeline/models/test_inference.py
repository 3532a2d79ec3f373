import pytest
import torch
from torch import nn

from pipeline.models.classifier import Classifier, Spec, build_classifier
from pipeline.models.inference import count_multiply_adds, teacher_logits


class Types(nn.Module):
    """Records the dtypes of its layer's outputs."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(12, 3)
        self.seen = set()

    def forward(self, pixels):
        logits = self.layer(pixels.flatten(1))
        self.seen.add(logits.dtype)
        return logits


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_logits_are_float32_in_any_precision(dtype):
    model, pixels = Types().eval(), torch.rand(5, 3, 2, 2)
    logits = teacher_logits(model, pixels, dtype)
    assert model.seen == {dtype}
    assert logits.dtype == torch.float32
    rounding = {torch.float32: 0, torch.bfloat16: 0.02, torch.float16: 0.003}[dtype]
    torch.testing.assert_close(logits, model(pixels).detach(), rtol=rounding, atol=rounding)


def test_logits_can_be_used_in_a_loss_and_have_no_gradient():
    teacher, student, pixels = Types().eval(), nn.Linear(12, 3), torch.rand(5, 3, 2, 2)
    logits = teacher_logits(teacher, pixels, torch.float32)
    assert not logits.requires_grad
    (logits * student(pixels.flatten(1))).sum().backward()
    assert student.weight.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in teacher.parameters())


CLASSES = tuple("abcdefgh")


def by_hand(model):
    """Multiply-adds, computed from the shapes of the layers."""
    counted = []

    def count(layer, _inputs, output):
        if isinstance(layer, nn.Conv2d):
            each = layer.in_channels // layer.groups * layer.kernel_size[0] * layer.kernel_size[1]
        else:
            each = layer.in_features
        counted.append(output.numel() * each)

    hooks = [
        layer.register_forward_hook(count)
        for layer in model.modules()
        if isinstance(layer, nn.Conv2d | nn.Linear)
    ]
    with torch.inference_mode():
        model.eval()(torch.zeros(1, 3, model.spec.image_size, model.spec.image_size))
    for hook in hooks:
        hook.remove()
    return sum(counted)


def test_multiply_adds_of_a_small_network_follow_the_formula():
    layers = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1),  # 16 x 16 places, 8 outputs of 27 products
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 5, padding=2, groups=8),  # depthwise: 25 products
        nn.Conv2d(8, 12, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(12, 8),
    )
    model = Classifier(layers, Spec("drawn", CLASSES, 32, (0, 0, 0), (1, 1, 1)))
    places = 16 * 16
    expected = places * 8 * 27 + places * 8 * 25 + places * 12 * 8 + 12 * 8
    assert count_multiply_adds(model) == expected == by_hand(model)


def test_multiply_adds_of_the_default_teacher_and_student():
    student = count_multiply_adds(build_classifier("mobilenetv2_035", CLASSES, 96))
    teacher = count_multiply_adds(build_classifier("tf_efficientnet_lite0", CLASSES, 96))
    assert student == pytest.approx(10.66e6, rel=1e-3)
    assert teacher / student > 6.5


@pytest.mark.parametrize("architecture", ["mobilenetv2_035", "resnet18", "mobilenetv3_small_050"])
def test_the_count_is_the_sum_over_the_layers(architecture):
    model = build_classifier(architecture, CLASSES, 64)
    assert count_multiply_adds(model) == by_hand(model)


@pytest.mark.parametrize("training", [True, False])
def test_counting_does_not_change_the_network(training):
    model = build_classifier("test_efficientnet", CLASSES, 32).train(training)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    count_multiply_adds(model)
    assert model.training is training
    assert model.backbone.training is training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
