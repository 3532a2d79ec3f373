import torch

from pipeline.training.rng import fork_rng

CPU = torch.device("cpu")


def sample(*key):
    with fork_rng(CPU, *key):
        return torch.rand(4).tolist(), torch.randperm(9).tolist()


def test_random_numbers_depend_only_on_the_key():
    first = sample(5, 1, 2)
    torch.rand(3)
    assert sample(5, 1, 2) == first
    others = [sample(*key)[0] for key in ((5, 1, 3), (5, 2, 1), (6, 1, 2), (5, 1, 2**33))]
    assert first[0] not in others
    assert len({tuple(numbers) for numbers in others}) == 4


def test_generator_state_is_restored():
    torch.manual_seed(3)
    expected = torch.rand(2, 4)
    torch.manual_seed(3)
    first = torch.rand(4)
    sample(7)
    assert torch.equal(torch.stack([first, torch.rand(4)]), expected)
