import json
import os
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from pipeline.errors import ArtifactError
from pipeline.files import (
    atomic_file,
    atomic_folder,
    move_folder,
    open_array,
    read_json,
    write_json,
)

PROJECT = Path(__file__).parents[2]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_file_shows_its_old_content_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "deep" / "down" / "model.onnx"
    with atomic_file(path) as temporary:
        temporary.write_text("half")
        assert not path.exists()
        assert temporary.parent == path.parent  # only a rename within one file system is atomic
    assert path.read_text() == "half"
    with atomic_file(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "half"
    assert path.read_text() == "new"
    assert names(path.parent) == ["model.onnx"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("before", ["old", None])
def test_a_file_stays_as_it_was_when_the_writing_fails(tmp_path, error, before):
    path = tmp_path / "report.json"
    if before is not None:
        path.write_text(before)
    with pytest.raises(error), atomic_file(path) as temporary:
        temporary.write_text("half")
        raise error
    assert (path.read_text() if path.exists() else None) == before
    assert names(tmp_path) == ([] if before is None else ["report.json"])


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_folder_is_replaced_as_a_whole_or_not_at_all(tmp_path, error):
    path = tmp_path / "deep" / "prepared"
    with atomic_folder(path) as temporary:
        (temporary / "a").write_text("1")
        (temporary / "b").write_text("1")
        assert not path.exists()
    with pytest.raises(error), atomic_folder(path) as temporary:
        (temporary / "a").write_text("2")
        raise error
    assert {p.name: p.read_text() for p in path.iterdir()} == {"a": "1", "b": "1"}
    with atomic_folder(path) as temporary:
        assert names(temporary) == []
        (temporary / "a").write_text("3")
        assert (path / "a").read_text() == "1"
    assert {p.name: p.read_text() for p in path.iterdir()} == {"a": "3"}
    assert names(path.parent) == ["prepared"]


def test_other_users_may_read_what_was_written(tmp_path):
    write_json(tmp_path / "a.json", {})
    with atomic_folder(tmp_path / "folder") as temporary:
        (temporary / "x").write_text("")
    assert mode(tmp_path / "a.json") == 0o644
    assert mode(tmp_path / "folder") == 0o755


def test_a_link_is_replaced_and_what_it_pointed_to_is_left_alone(tmp_path):
    # DVC may link an output to its cache, which must never be written through.
    cached = tmp_path / "cached"
    cached.write_text("cached")
    cached.chmod(0o444)
    (tmp_path / "out").symlink_to(cached)
    with atomic_file(tmp_path / "out") as temporary:
        temporary.write_text("new")
    assert cached.read_text() == "cached"
    assert mode(cached) == 0o444
    assert (tmp_path / "out").read_text() == "new"


def test_two_writers_of_one_file_leave_one_whole_file(tmp_path):
    path = tmp_path / "shared.json"
    values = [{"writer": [writer] * 20_000} for writer in range(4)]
    writers = [threading.Thread(target=write_json, args=(path, value)) for value in values]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert read_json(path) in values
    assert names(tmp_path) == ["shared.json"]


def test_json_round_trip(tmp_path):
    value = {"ä": [1, 2.5, None, True], "nested": {"x": "\n"}, "a": "日本"}
    write_json(tmp_path / "value.json", value)
    assert read_json(tmp_path / "value.json") == value
    assert (tmp_path / "value.json").read_text("utf-8").endswith("}\n")


def test_the_old_file_is_kept_if_a_value_is_not_json(tmp_path):
    write_json(tmp_path / "value.json", {"a": 1})
    with pytest.raises(TypeError):
        write_json(tmp_path / "value.json", {"a": object()})
    assert read_json(tmp_path / "value.json") == {"a": 1}
    assert names(tmp_path) == ["value.json"]


def test_every_truncation_of_a_json_file_is_refused_by_name(tmp_path):
    whole = json.dumps({"classes": ["a", "ä"], "n": [1, 2]}, ensure_ascii=False).encode()
    path = tmp_path / "dataset.json"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ArtifactError, match="truncated or not JSON") as caught:
            read_json(path)
        assert caught.value.path == path


def test_a_missing_or_unreadable_json_file_is_refused(tmp_path):
    with pytest.raises(ArtifactError, match=r"none\.json: is missing"):
        read_json(tmp_path / "none.json")
    with pytest.raises(ArtifactError, match="cannot be read"):
        read_json(tmp_path)


@pytest.mark.parametrize("text", ["[]", '[{"format": 1}]', "1", "null", '"format"', "true"])
def test_a_json_file_that_holds_no_object_is_refused_by_name(tmp_path, text):
    path = tmp_path / "dataset.json"
    path.write_text(text)
    with pytest.raises(ArtifactError, match="not an object") as caught:
        read_json(path)
    assert caught.value.path == path


def made_folder(path):
    path.mkdir(parents=True)
    (path / "a").write_text("new")
    return path


@pytest.mark.parametrize("is_there", [False, True])
def test_a_folder_is_moved_and_replaces_the_old_one(tmp_path, is_there):
    path = tmp_path / "deep" / "logits"
    if is_there:
        path.mkdir(parents=True)
        (path / "b").write_text("old")
    made = made_folder(tmp_path / "work" / "key")
    move_folder(made, path)
    assert names(path) == ["a"]
    assert not made.exists()


def test_a_folder_of_another_file_system_is_moved(tmp_path):
    shared_memory = Path("/dev/shm")
    if not shared_memory.is_dir() or shared_memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("needs a second file system")
    with tempfile.TemporaryDirectory(dir=shared_memory) as elsewhere:
        made = made_folder(Path(elsewhere) / "made")
        move_folder(made, tmp_path / "logits")
        assert not made.exists()
    assert names(tmp_path) == ["logits"]
    assert (tmp_path / "logits/a").read_text() == "new"


@pytest.mark.parametrize("is_there", [False, True])
@pytest.mark.parametrize("write", ["atomic_folder", "move_folder"])
def test_a_link_to_a_folder_on_another_disk_stays(tmp_path, write, is_there):
    disk = tmp_path / "disk" / "logits"
    if is_there:
        disk.mkdir(parents=True)
        (disk / "b").write_text("old")
    link = tmp_path / "data"
    link.symlink_to(disk)
    if write == "move_folder":
        move_folder(made_folder(tmp_path / "work" / "key"), link)
    else:
        with atomic_folder(link) as temporary:
            (temporary / "a").write_text("new")
    assert link.readlink() == disk
    assert names(disk) == ["a"]
    assert names(disk.parent) == ["logits"]


@pytest.fixture
def umask():
    before = os.umask(0o027)
    yield 0o027
    os.umask(before)


def test_modes_follow_the_umask_whatever_a_library_writes(tmp_path, umask):
    write_json(tmp_path / "a.json", {})
    with atomic_file(tmp_path / "b") as temporary:
        replaced = temporary.with_name("replaced")
        replaced.touch(mode=0o600)
        replaced.replace(temporary)
    with atomic_folder(tmp_path / "folder") as temporary:
        (temporary / "deep").mkdir()
        (temporary / "deep" / "weights").touch(mode=0o600)
    assert mode(tmp_path / "a.json") == mode(tmp_path / "b") == 0o640
    assert mode(tmp_path / "folder") == 0o750
    assert mode(tmp_path / "folder" / "deep" / "weights") == 0o640


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_the_next_writer_removes_what_a_killed_one_left(tmp_path, kind):
    program = f"""
import os, signal, sys
from pathlib import Path
from pipeline.files import atomic_{kind}
with atomic_{kind}(Path(sys.argv[1])) as temporary:
    {"temporary.write_text('half')" if kind == "file" else "(temporary / 'x').write_text('half')"}
    os.kill(os.getpid(), signal.SIGKILL)
"""
    path = tmp_path / "model.json"
    for name in (path.name, "other.json"):
        subprocess.run([sys.executable, "-c", program, tmp_path / name], cwd=PROJECT, check=False)
    assert len(names(tmp_path)) == 2
    (tmp_path / ".model.json.backup").touch()  # not ours
    with (atomic_file if kind == "file" else atomic_folder)(path):
        assert len(names(tmp_path)) == 3
    (left,) = set(names(tmp_path)) - {"model.json", ".model.json.backup"}
    assert left.startswith(".other.json.")


def test_the_temporary_file_of_a_running_process_stays(tmp_path):
    path = tmp_path / "a.json"
    with atomic_file(path) as first:
        first.write_text("1")
        with atomic_file(path) as second:
            second.write_text("2")
        assert path.read_text() == "2"
    assert path.read_text() == "1"


@pytest.mark.timeout(20)
@pytest.mark.parametrize("read", [read_json, open_array])
def test_a_pipe_is_refused_without_waiting(tmp_path, read):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ArtifactError, match="not a regular file"):
        read(tmp_path / "pipe")
