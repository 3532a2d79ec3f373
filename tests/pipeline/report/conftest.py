"""A drawn run, what is read from it, and its page."""

import pytest

from pipeline.report.page import render
from tests.pipeline.report.drawn_run import Run
from tests.pipeline.report.html_tree import Tree


@pytest.fixture(scope="session")
def drawn(tmp_path_factory):
    """Drawn once; a test that changes files has a copy."""
    return Run(tmp_path_factory.mktemp("drawn") / "run")


@pytest.fixture
def run(drawn, tmp_path):
    return drawn.copied_to(tmp_path / "run")


@pytest.fixture(scope="session")
def facts(drawn):
    return drawn.read()


@pytest.fixture(scope="session")
def page(facts):
    return render(facts)


@pytest.fixture(scope="session")
def tree(page):
    return Tree(page).root
