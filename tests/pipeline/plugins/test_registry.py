"""Lookup by name, plug-ins of other packages, and errors."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pipeline.errors import ParameterError
from pipeline.plugins import Registry


def test_the_error_for_an_unknown_name_lists_close_names() -> None:
    registry = Registry("greeting", "pipeline.plugins")
    registry.register("hello")(lambda: None)
    with pytest.raises(ParameterError, match=r"greeting.*'helo'.*hello"):
        registry["helo"]
    assert "hello" in registry
    assert "helo" not in registry


def test_two_plugins_with_one_name_are_refused() -> None:
    registry = Registry("greeting", "pipeline.plugins")
    registry.register("hello")(Registry)
    with pytest.raises(ParameterError, match=r"'hello'.*Registry.*Path.*rename"):
        registry.register("hello")(Path)


def test_an_installed_package_adds_a_plugin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "greeter.py").write_text(
        "from pipeline.plugins import LOSSES\nLOSSES.register('greeter')(dict)\n"
    )
    info = tmp_path / "greeter-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: greeter\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[finch.plugins]\ngreeter = greeter\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    registry = Registry("method", "pipeline.plugins")
    monkeypatch.setattr("pipeline.plugins.LOSSES", registry)
    assert "greeter" in registry.names()
    sys.modules.pop("greeter")


def test_a_failed_import_is_raised_at_every_lookup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_plugins").mkdir()
    (tmp_path / "broken_plugins/__init__.py").touch()
    (tmp_path / "broken_plugins/broken.py").write_text("raise OSError('no license')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    registry = Registry("method", "broken_plugins")
    for _ in range(2):
        with pytest.raises(OSError, match="no license"):
            registry["kd"]
