"""Hypothesis without deadlines, because a busy machine can be slow, and a fixture for threads."""

import pytest
import torch
from hypothesis import settings

settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


@pytest.fixture
def one_thread():
    """Limits PyTorch to one thread, with which small networks are fastest."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
