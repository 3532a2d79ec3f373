import pytest


@pytest.fixture(autouse=True)
def small_networks(one_thread):
    """All networks here are small."""
