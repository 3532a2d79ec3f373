import pytest
import torch
from torch import nn

from pipeline.models.inference import teacher_logits


class Types(nn.Module):
    """Keeps the type that its layer answers in."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(12, 3)
        self.seen = set()

    def forward(self, pixels):
        said = self.layer(pixels.flatten(1))
        self.seen.add(said.dtype)
        return said


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_network_answers_in_single_precision_whatever_it_computes_in(dtype):
    model, pixels = Types().eval(), torch.rand(5, 3, 2, 2)
    said = teacher_logits(model, pixels, dtype)
    assert model.seen == {dtype}
    assert said.dtype == torch.float32
    rounding = {torch.float32: 0, torch.bfloat16: 0.02, torch.float16: 0.003}[dtype]
    torch.testing.assert_close(said, model(pixels).detach(), rtol=rounding, atol=rounding)


def test_a_loss_may_be_computed_from_answers_that_have_no_gradient():
    teacher, student, pixels = Types().eval(), nn.Linear(12, 3), torch.rand(5, 3, 2, 2)
    said = teacher_logits(teacher, pixels, torch.float32)
    assert not said.requires_grad
    (said * student(pixels.flatten(1))).sum().backward()
    assert student.weight.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in teacher.parameters())
