import pytest
import torch

from tests.pipeline.logit_cache.small_cache import prepare


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("prepared"))


@pytest.fixture(autouse=True)
def one_thread():
    """Networks this small are slower on several threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
