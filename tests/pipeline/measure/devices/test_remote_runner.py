import io
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from pipeline.measure.devices import remote_runner


def call(*words, stdin=b"", **environment):
    return subprocess.run(
        [sys.executable, "-c", Path(remote_runner.__file__).read_text(), *words],
        input=stdin,
        capture_output=True,
        env=environment,
    )


def packed(**files):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def test_files_are_in_the_user_s_cache(tmp_path):
    done = call("open", "", HOME=str(tmp_path))
    store = tmp_path / ".cache" / remote_runner.STORE
    assert str(store).encode() in done.stdout
    assert store.stat().st_mode & 0o777 == 0o700


def test_without_a_cache_the_files_are_temporary(tmp_path):
    (tmp_path / "home").write_text("no folder")
    (tmp_path / "tmp").mkdir()
    done = call("open", "", HOME=str(tmp_path / "home"), TMPDIR=str(tmp_path / "tmp"))
    assert str(next((tmp_path / "tmp").iterdir())).encode() in done.stdout


def test_a_link_instead_of_the_folder_is_rejected(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / remote_runner.STORE).symlink_to(tmp_path / "elsewhere")
    done = call("open", str(tmp_path))
    assert done.returncode == 1
    assert b"another user" in done.stderr


@pytest.mark.parametrize("damage", ["changed", "cut"])
def test_damaged_files_are_not_kept(tmp_path, damage):
    (tmp_path / "a").write_bytes(b"content" * 1000)
    key = remote_runner.content_key(tmp_path, ["a"])
    store = tmp_path / "store"
    store.mkdir()
    stream = packed(a=b"content" * 1000)
    broken = packed(a=b"contend" * 1000) if damage == "changed" else stream[:3000]
    assert call("receive", str(store), key, stdin=broken).returncode == 1
    assert not list(store.iterdir())
    assert call("receive", str(store), key, stdin=stream).returncode == 0
    assert (store / key / "a").read_bytes() == b"content" * 1000


def test_a_key_depends_on_names_and_contents(tmp_path):
    for folder, files in {"x": {"a": "1", "b": "2"}, "y": {"a": "2", "b": "1"}}.items():
        (tmp_path / folder).mkdir()
        for name, text in files.items():
            (tmp_path / folder / name).write_text(text)
    x, y = tmp_path / "x", tmp_path / "y"
    assert remote_runner.content_key(x, ["a", "b"]) == remote_runner.content_key(x, ["b", "a"])
    keys = [remote_runner.content_key(*of) for of in ((x, ["a", "b"]), (y, ["a", "b"]), (x, ["a"]))]
    assert len(set(keys)) == 3
