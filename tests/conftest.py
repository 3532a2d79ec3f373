"""For every test: no runtime reports home. The longest file runs first."""

import pytest
from finch_runtime.telemetry import turn_off

turn_off()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """At the end of a run, one of several workers would be left alone with the longest file."""
    items.sort(key=lambda item: item.path.name != "test_wheel.py")
