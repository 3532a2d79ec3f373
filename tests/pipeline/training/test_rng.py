import torch

from pipeline.training.rng import fork_rng

CPU = torch.device("cpu")


def drawn(*key):
    with fork_rng(CPU, *key):
        return torch.rand(4).tolist(), torch.randperm(9).tolist()


def test_draws_follow_from_their_key_alone():
    first = drawn(5, 1, 2)
    torch.rand(3)
    assert drawn(5, 1, 2) == first
    others = [drawn(*key)[0] for key in ((5, 1, 3), (5, 2, 1), (6, 1, 2), (5, 1, 2**33))]
    assert first[0] not in others
    assert len({tuple(numbers) for numbers in others}) == 4


def test_what_is_drawn_afterwards_is_what_would_have_been_drawn_without_them():
    torch.manual_seed(3)
    expected = torch.rand(2, 4)
    torch.manual_seed(3)
    first = torch.rand(4)
    drawn(7)
    assert torch.equal(torch.stack([first, torch.rand(4)]), expected)
