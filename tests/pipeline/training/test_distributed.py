"""Training in two processes gives the same results as training in one."""

import json
import subprocess
import sys
from itertools import chain
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file
from timm.layers import SyncBatchNormAct

from pipeline.errors import ParameterError, TrainingError
from pipeline.params import Distill, Finetune
from pipeline.training.batch_size import check_batch_size
from pipeline.training.distributed import ProcessGroup, init_distributed
from pipeline.training.process_rank import ProcessRank
from tests.pipeline.training import distributed_runs
from tests.pipeline.training.distributed_runs import CASES

CPU = torch.device("cpu")
ROOT = Path(__file__).parents[3]


def train_two(folder, device):
    module = distributed_runs.__name__
    options = ["--standalone", "--nproc-per-node", "2", "--log-dir", str(folder / "logs")]
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", *options, "-m", module, folder, device],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Results of two processes, in a folder for each rank."""
    return train_two(tmp_path_factory.mktemp("two"), "cpu")


def weights(folder):
    return load_file(folder / "weights.safetensors")


def history(folder):
    return json.loads((folder / "history.json").read_text())


def assert_near(first, second, within):
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        torch.testing.assert_close(second[name], tensor, rtol=0, atol=within, msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_two_processes_give_the_same_weights_as_one(two, case):
    single = distributed_runs.train_case(case, ProcessGroup(), CPU)
    expected = single.model.state_dict()
    for rank in ("0", "1"):
        assert_near(expected, weights(two / rank / case), within=1e-5)
        found = history(two / rank / case)
        assert [done["val_accuracy"] for done in found] == [e.val_accuracy for e in single.history]
        losses = pytest.approx([epoch.loss for epoch in single.history], abs=1e-5)
        assert [done["loss"] for done in found] == losses
    # Training has changed the weights.
    first = distributed_runs.network(CASES[case][0]).state_dict()
    moved = [(expected[n] - t).abs().max() for n, t in first.items() if n.startswith("backbone")]
    assert max(moved) > 1e-3


@pytest.mark.slow
def test_all_processes_stop_and_resume_to_the_same_weights(two):
    messages = [(two / rank / "stopped.txt").read_text() for rank in ("0", "1")]
    assert messages[0] == messages[1]
    assert messages[0].endswith("epoch 2, step 6 (batch 2 of 4)")
    for rank in ("0", "1"):
        whole, resumed = two / rank / "never_stopped", two / rank / "stopped"
        assert_near(weights(whole), weights(resumed), within=0)
        assert history(whole) == history(resumed)
    assert_near(weights(two / "0/stopped"), weights(two / "1/stopped"), within=0)


@pytest.mark.slow
def test_only_the_main_process_writes_checkpoints(two):
    assert (two / "0/stopped/checkpoints/key.safetensors").is_file()
    assert not (two / "1/stopped/checkpoints").exists()


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_two_gpus_give_the_same_weights_as_one(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    gpu = torch.device("cuda", 0)
    two = train_two(tmp_path, "cuda")
    for case in CASES:
        single = distributed_runs.train_case(case, ProcessGroup(), gpu).model.cpu().state_dict()
        assert_near(single, weights(two / "0" / case), within=1e-4)
    # Batch norm is synchronized on CUDA.
    single = distributed_runs.train_batch_norm(ProcessGroup(), gpu).model.cpu().state_dict()
    assert_near(single, weights(two / "0/batch"), within=1e-4)
    assert len({(two / rank / "stopped.txt").read_text() for rank in ("0", "1")}) == 1


@pytest.mark.parametrize(
    ("section", "changes", "images", "expected"),
    [
        (Finetune, {"batch_size": 4}, 99, r"finetune\.batch_size = 4: .* 3 images"),
        # Two batches, of 4 and 5 images.
        (Distill, {"batch_size": 8}, 9, r"distill\.batch_size = 8: .* 4 images"),
        (Distill, {"batch_size": 16, "accumulate": 4}, 64, r" 4 images .*accumulate = 4"),
    ],
)
def test_micro_batch_smaller_than_the_world_size_raises(section, changes, images, expected):
    recipe = section(**{"epochs": 1, "lr": 0.1, "weight_decay": 0.0, **changes})
    with pytest.raises(ParameterError, match=expected + r".*world size 5"):
        check_batch_size(recipe, images, ProcessRank(0, 5, 0))
    check_batch_size(recipe, images, ProcessRank(0, 3, 0))
    check_batch_size(recipe, images, ProcessRank())


@pytest.mark.parametrize("count", [8, 9, 10, 11, 3])
def test_shards_cover_a_batch_with_nearly_equal_sizes(count):
    shards = [ProcessGroup(ProcessRank(rank, 4, 0), CPU).shard_slice(count) for rank in range(4)]
    indices = [list(range(count))[shard] for shard in shards]
    assert list(chain.from_iterable(indices)) == list(range(count))
    assert max(map(len, indices)) - min(map(len, indices)) <= 1


def test_synchronized_batch_norm_keeps_the_activation_of_timm():
    network = timm.create_model("test_efficientnet").eval()
    pixels = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        before = network(pixels)
        ProcessGroup(ProcessRank(0, 2, 0), torch.device("cuda")).sync_batch_norm(network)
        assert any(isinstance(layer, SyncBatchNormAct) for layer in network.modules())
        torch.testing.assert_close(network(pixels), before)


def test_failed_connection_names_the_rank(monkeypatch):
    for name, value in (("WORLD_SIZE", "2"), ("RANK", "1"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    expected = r"rank 1 of world size 2: .*torchrun"
    with pytest.raises(TrainingError, match=expected), init_distributed(CPU):
        pass
