"""`run.deterministic`: the same bits in a second run, or an error that names the reason."""

import pytest
import torch
from torch import nn

from pipeline.errors import TrainingError
from pipeline.losses import CrossEntropy
from pipeline.params import Run
from pipeline.training.checkpoint import checkpoint_key
from pipeline.training.device import prepare_torch
from pipeline.training.loop import train
from pipeline.training.task import TrainingEnvironment
from tests.pipeline.training.small_training import network, small_task
from tests.pipeline.training.toy_models import classifier, labeled_by_index, recipe, run


@pytest.fixture(autouse=True)
def restored(monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    yield
    torch.use_deterministic_algorithms(False)


class Scatters(nn.Module):
    """Uses an operation whose result depends on the order of its threads."""

    def __init__(self, classes):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(classes))

    def forward(self, pixels):
        means = pixels.mean(dim=(1, 2, 3))
        first = torch.zeros_like(means).put_(torch.zeros(1, dtype=torch.long), means[:1])
        return first[:, None] * self.scale


def test_an_operation_that_cannot_be_repeated_is_named():
    split, settings = labeled_by_index(6), recipe(batch_size=6)
    prepare_torch(Run(device="cpu"))
    run(classifier(Scatters(6), 6), CrossEntropy(), settings, split, split)
    prepare_torch(Run(device="cpu", deterministic=True))
    with pytest.raises(TrainingError, match=r"^run\.deterministic = true: put_.* on cpu; set it"):
        run(classifier(Scatters(6), 6), CrossEntropy(), settings, split, split)


def test_a_run_that_is_not_deterministic_is_not_resumed_as_one_that_is():
    device = torch.device("cuda")
    free = checkpoint_key(network(), device)
    prepare_torch(Run(device="cpu", deterministic=True))
    assert checkpoint_key(network(), device) != free


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_two_runs_on_a_gpu_give_the_same_bits():
    def weights():
        device = prepare_torch(Run(device="cuda", deterministic=True))
        trained = train(network(), small_task(CrossEntropy()), TrainingEnvironment(device, 5))
        return trained.model.state_dict()

    first, second = weights(), weights()
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())
