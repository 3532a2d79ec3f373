import pytest


@pytest.fixture(autouse=True)
def small_networks(one_thread):
    """One thread, since the networks are small."""
