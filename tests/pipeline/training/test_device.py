import pytest
import torch

from pipeline.errors import ParameterError
from pipeline.params import Run
from pipeline.training.device import prepare_torch, resolve_device


@pytest.fixture
def available(monkeypatch):
    """Sets which accelerators torch reports as available."""

    def set_available(cuda=False, mps=False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1, 1))
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return set_available


@pytest.mark.parametrize("name", ["cuda", "mps"])
def test_unavailable_device_raises(available, name):
    available()
    with pytest.raises(ParameterError, match=rf"run\.device = {name}: .*set run\.device to auto"):
        resolve_device(name)
    with pytest.raises(ParameterError):
        prepare_torch(Run(device=name))


NO_DRIVER = "Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU"
OLD_DRIVER = "The NVIDIA driver on your system is too old (found version 11040). Please update it"


@pytest.mark.parametrize("message", [NO_DRIVER, OLD_DRIVER])
def test_an_unusable_driver_is_the_reason(available, monkeypatch, message):
    def init():
        raise RuntimeError(message)

    available()
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: True)
    monkeypatch.setattr(torch.cuda, "init", init)
    with pytest.raises(ParameterError) as caught:
        resolve_device("cuda")
    assert str(caught.value) == (
        f"run.device = cuda: the device is not available ({message.split('. ')[0]}); set "
        "run.device to auto or cpu"
    )


def test_a_build_without_cuda_is_the_reason(available, monkeypatch):
    available()
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: False)
    with pytest.raises(ParameterError, match=r"not available \(this build of torch has no CUDA\);"):
        resolve_device("cuda")


@pytest.mark.parametrize("name", ["auto", "cuda"])
def test_a_busy_gpu_is_refused_in_one_line(available, monkeypatch, name):
    def busy(device):
        raise torch.AcceleratorError(
            "CUDA error: CUDA-capable device(s) is/are busy or unavailable\n"
            "CUDA kernel errors might be asynchronously reported at some other API call.\n"
        )

    available(cuda=True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", busy)
    with pytest.raises(ParameterError) as caught:
        prepare_torch(Run(device=name))
    assert str(caught.value) == (
        "run.device = cuda: cuda cannot be used (CUDA error: CUDA-capable device(s) is/are busy or "
        "unavailable); wait until no other process uses it, select another GPU with "
        "CUDA_VISIBLE_DEVICES, or set run.device to cpu"
    )


@pytest.mark.parametrize(
    ("accelerators", "best"),
    [
        ({}, "cpu"),
        ({"mps": True}, "mps"),
        ({"cuda": True}, "cuda"),
        ({"cuda": True, "mps": True}, "cuda"),
    ],
)
def test_auto_selects_the_best_available_device(available, accelerators, best):
    available(**accelerators)
    assert resolve_device("auto") == torch.device(best)
    assert resolve_device("cpu") == torch.device("cpu")


def test_seed_determines_initial_weights():
    def initial_weights(seed):
        assert prepare_torch(Run(device="cpu", seed=seed)) == torch.device("cpu")
        return torch.nn.Linear(3, 3).weight

    assert torch.equal(initial_weights(4), initial_weights(4))
    assert not torch.equal(initial_weights(4), initial_weights(5))


@pytest.mark.parametrize(("threads", "expected"), [(2, 2), (0, 1)])
def test_threads_are_set_unless_zero(threads, expected):
    assert torch.get_num_threads() == 1
    prepare_torch(Run(device="cpu", threads=threads))
    assert torch.get_num_threads() == expected


@pytest.fixture
def rank_1_of_2(monkeypatch):
    for name, value in (("WORLD_SIZE", "2"), ("RANK", "1"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)


def test_each_process_uses_the_gpu_of_its_local_rank(available, rank_1_of_2, monkeypatch):
    available(cuda=True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    selected = []
    monkeypatch.setattr(torch.cuda, "set_device", selected.append)
    assert prepare_torch(Run()) == torch.device("cuda", 1)
    assert selected == [1]
    assert prepare_torch(Run(device="cpu")) == torch.device("cpu")


def test_process_without_gpu_raises(available, rank_1_of_2, monkeypatch):
    available(cuda=True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ParameterError, match=r"run\.device = cuda: .*local rank 1,.* 1;"):
        prepare_torch(Run())
    available(mps=True)
    with pytest.raises(ParameterError, match=r"run\.device = mps: .*distributed"):
        prepare_torch(Run())
