"""The loss as a plain module in the training loops of timm and torchdistill."""

import timm.task
import torch
from timm.optim import create_optimizer_v2
from torch import nn
from torch.utils.data import RandomSampler, TensorDataset
from torchdistill.core.distillation import get_distillation_box
from torchdistill.losses.registry import register_loss_wrapper, register_low_level_loss

from pipeline.losses import FiGKDLoss

CLASSES = 6


def network(width, seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, width), nn.ReLU(), nn.Linear(width, CLASSES))


def images_and_labels(count=24):
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(count, 3, 2, 2, generator=generator)
    return images, torch.randint(CLASSES, (count,), generator=generator)


class FiGKDTask(timm.task.TrainingTask):
    def __init__(self, student, teacher):
        super().__init__(verbose=False)
        self.trainable_module = student
        self.teacher = timm.task.DistillationTeacher(teacher)
        self.criterion = FiGKDLoss(CLASSES)

    def forward(self, input, target):
        output = self.trainable_module(input)
        with torch.no_grad():
            teacher_logits = self.teacher(input)
        terms = self.criterion.terms(output, teacher_logits, target)
        return {"loss": sum(terms.values()), "output": output, **terms}


def test_timm_trains_a_student():
    student, teacher = network(8, seed=1), network(32, seed=2)
    images, labels = images_and_labels()
    before = [parameter.clone() for parameter in teacher.parameters()]
    task = FiGKDTask(student, teacher)
    optimizer = create_optimizer_v2(task.get_trainable_module(), "sgd", lr=0.1, momentum=0.9)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        result = task(images, labels)
        result["loss"].backward()
        optimizer.step()
        losses.append(result["loss"].item())
    assert losses[-1] < 0.8 * losses[0]
    assert result["output"].shape == (len(images), CLASSES)
    assert {"cross_entropy", "detail", "kd"} <= set(result)
    assert all(map(torch.equal, before, teacher.parameters()))


@register_loss_wrapper
class LogitsLossWrapper(nn.Module):
    """Passes the outputs of both models to a loss of student logits, teacher logits and labels."""

    def __init__(self, loss):
        super().__init__()
        self.loss = loss

    def forward(self, student_io_dict, teacher_io_dict, targets):
        return self.loss(student_io_dict["."]["output"], teacher_io_dict["."]["output"], targets)


def test_torchdistill_trains_a_student():
    register_low_level_loss(FiGKDLoss)
    figkd = {"key": "FiGKDLoss", "kwargs": {"num_classes": CLASSES, "wavelet": "db2"}}
    wrapper = {"key": "LogitsLossWrapper"}
    term = {"criterion": figkd, "criterion_wrapper": wrapper, "weight": 1.0}
    loader = {
        "dataset_id": "train",
        "sampler": {"class_or_func": RandomSampler},
        "kwargs": {"batch_size": 8},
    }
    config = {
        "num_epochs": 20,
        "train_data_loader": {**loader, "requires_supp": False},
        "val_data_loader": loader,
        "teacher": {"forward_proc": "forward_batch_only", "requires_grad": False},
        "student": {"forward_proc": "forward_batch_only"},
        "optimizer": {"key": "SGD", "kwargs": {"lr": 0.1}},
        "criterion": {"key": "WeightedSumLoss", "kwargs": {"sub_terms": {"figkd": term}}},
    }
    box = get_distillation_box(
        network(32, seed=2),
        network(8, seed=1),
        {"train": TensorDataset(*images_and_labels())},
        config,
        device=torch.device("cpu"),
        device_ids=[],
        distributed=False,
        lr_factor=1,
    )
    epochs = []
    for epoch in range(box.num_epochs):
        box.pre_epoch_process(epoch=epoch)
        losses = []
        for images, labels in box.train_data_loader:
            loss = box.forward_process(images, labels)
            box.post_forward_process(loss=loss)
            losses.append(loss.item())
        epochs.append(sum(losses) / len(losses))
    assert epochs[-1] < 0.8 * epochs[0]
