"""The examples in docstrings run."""

import doctest
import importlib
import pkgutil

import pytest

import pipeline.losses
import pipeline.plugins

MODULES = [
    module.name
    for package in (pipeline.losses, pipeline.plugins)
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_a_module_run(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_figkd_has_an_example():
    assert doctest.testmod(importlib.import_module("pipeline.losses.figkd.loss")).attempted
