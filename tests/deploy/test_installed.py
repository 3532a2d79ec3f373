import sys

from finch_runtime.installed import installed_bytes


def test_a_package_weighs_what_its_files_weigh(tmp_path, monkeypatch):
    folder = tmp_path / "weighty" / "libs"
    folder.mkdir(parents=True)
    (tmp_path / "weighty" / "__init__.py").write_text("raise ImportError('must not be imported')")
    (folder / "kernels.so").write_bytes(bytes(1000))
    monkeypatch.syspath_prepend(tmp_path)
    written = (tmp_path / "weighty" / "__init__.py").stat().st_size
    assert installed_bytes("weighty") == 1000 + written
    assert "weighty" not in sys.modules


def test_what_is_not_installed_weighs_nothing_known(tmp_path, monkeypatch):
    (tmp_path / "single.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    assert installed_bytes("single") is None
    assert installed_bytes("no_such_package") is None
