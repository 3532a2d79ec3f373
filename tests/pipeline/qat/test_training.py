"""When the weights of QAT replace those that it began with."""

import torch

from pipeline.class_metrics import Metric, count_classes
from pipeline.models.classifier import Classifier
from pipeline.qat.training import train_qat
from pipeline.training.loop import TrainingResult
from pipeline.training.state import Epoch
from pipeline.training.validation import compute_logits
from tests.pipeline.training.toy_models import CPU, colored, small_net


def test_the_metric_decides_whether_training_was_an_improvement() -> None:
    val = colored(30, seed=2)
    found = count_classes(compute_logits(small_net(3), val, CPU).argmax(1), val.labels, 3)
    better, worse = float(found.balanced_accuracy) + 0.01, float(found.accuracy) - 0.01
    best = Epoch(4, 0.5, {}, worse, better, 0.5)

    def train(model: Classifier) -> TrainingResult:
        torch.nn.init.ones_(model.backbone[0].weight)
        return TrainingResult(model, best, [best])

    def trained_with(metric: Metric) -> tuple[int, bool]:
        result = train_qat(small_net(3), small_net(3), train, val, CPU, metric)
        return result.best_epoch, bool((result.model.backbone[0].weight == 1).all())

    assert trained_with("accuracy") == (0, False)
    assert trained_with("balanced_accuracy") == (4, True)
