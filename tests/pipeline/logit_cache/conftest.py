import pytest

from tests.pipeline.logit_cache.small_cache import prepare


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("prepared"))


@pytest.fixture(autouse=True)
def small_networks(one_thread):
    """One thread, since the networks are small."""
