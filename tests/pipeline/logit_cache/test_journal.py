import json
import random
import resource
import shutil
import signal
import time
from dataclasses import replace

import pytest
import timm
import torch

from pipeline.errors import Stopped, StorageError
from pipeline.logit_cache import journal, open_logit_cache
from tests.killable import Killable
from tests.pipeline.logit_cache.small_cache import MANY, key_of, prepare, teacher, write, write_in

BATCHES = 3 * 3  # 3 views of 11 images in batches of 4


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def stopped_after(batches, folder, data, **options):
    """Writes some batches and stops, as after a signal; returns the error message."""
    left = iter(range(batches - 1))
    with pytest.raises(Stopped) as caught:
        write(folder, data, should_stop=lambda: next(left, None) is None, **options)
    return str(caught.value)


def resumed_at(folder, data, **options):
    """Writes all batches; returns the arguments of ``on_resume``, or None if it was not called."""
    seen = []
    write(folder, data, on_resume=lambda *counts: seen.append(counts), **options)
    return seen[0] if seen else None


@pytest.mark.parametrize("pack_views", [False, True])
def test_resuming_after_every_batch_gives_the_same_bytes(data, tmp_path, pack_views):
    write(tmp_path / "expected", data, pack_views=pack_views, work=tmp_path / "elsewhere")
    folder = tmp_path / "logits"
    for batch in range(BATCHES):
        message = stopped_after(1, folder, data, pack_views=pack_views)
        assert f"{batch + 1} of {BATCHES} batches" in message
        assert not folder.exists()
    calls = []
    model = teacher()
    model.register_forward_hook(lambda *_: calls.append(1))
    assert resumed_at(folder, data, model=model, pack_views=pack_views) == (BATCHES, BATCHES)
    assert calls == []
    assert files(folder) == files(tmp_path / "expected")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["expected", "logits"]


def test_progress_bar_resumes(data, tmp_path):
    seen = []

    def track(items, description, total=None):
        for item in items:
            seen.append((item, total))
            yield item

    stopped_after(4, tmp_path / "logits", data)
    assert resumed_at(tmp_path / "logits", data, track=track) == (4, BATCHES)
    assert seen == [(batch, BATCHES) for batch in range(BATCHES)]


@pytest.mark.parametrize(
    "changes",
    [
        {"of": {"teacher": "b"}},
        {"of": {"data": "b"}},
        {"of": {"views": "b"}},
        {"views": 4},
        {"batch_size": 5},
        {"dtype": "float32"},
        {"pack_views": True},
        {"precision": torch.bfloat16},
    ],
    ids=str,
)
def test_unfinished_files_of_other_inputs_are_removed(data, tmp_path, changes):
    changes = dict(changes)
    key = replace(key_of(data), **changes.pop("of", {}))
    stopped_after(5, tmp_path / "logits", data)
    assert resumed_at(tmp_path / "logits", data, key=key, **changes) is None
    write(tmp_path / "fresh", data, key=key, **changes)
    assert files(tmp_path / "logits") == files(tmp_path / "fresh")
    assert not (tmp_path / "work").exists()


def test_another_number_of_threads_restarts(data, tmp_path):
    stopped_after(5, tmp_path / "logits", data)
    torch.set_num_threads(2)
    assert resumed_at(tmp_path / "logits", data) is None


def cut_journal(work):
    (path,) = work.glob("*.json")
    path.write_bytes(path.read_bytes()[:20])


def journal_of_a_list(work):
    (path,) = work.glob("*.json")
    path.write_text("[]")


def journal_without_sizes(work):
    (path,) = work.glob("*.json")
    path.write_text(json.dumps({"steps": 3, "correct": 1}))


def no_journal(work):
    next(work.glob("*.json")).unlink()


def short_file(work):
    (file,) = work.glob("*/logits.npy")
    file.write_bytes(file.read_bytes()[:-1])


def no_file(work):
    next(work.glob("*/logits.npy")).unlink()


@pytest.mark.parametrize(
    "damage",
    [cut_journal, journal_of_a_list, journal_without_sizes, no_journal, short_file, no_file],
)
def test_damaged_unfinished_files_are_written_again(data, tmp_path, damage):
    write(tmp_path / "expected", data)
    stopped_after(5, tmp_path / "logits", data)
    damage(tmp_path / "work")
    assert resumed_at(tmp_path / "logits", data) is None
    assert files(tmp_path / "logits") == files(tmp_path / "expected")


def test_batches_of_other_code_are_not_continued(data, tmp_path, monkeypatch):
    stopped_after(5, tmp_path / "logits", data)
    monkeypatch.setattr("pipeline.logit_cache.writer.code_fingerprint", lambda *code: "changed")
    assert resumed_at(tmp_path / "logits", data) is None


def test_batches_of_another_version_of_a_library_are_not_continued(data, tmp_path, monkeypatch):
    stopped_after(5, tmp_path / "logits", data)
    monkeypatch.setattr(timm, "__version__", "99.0")
    assert resumed_at(tmp_path / "logits", data) is None


def test_data_after_the_last_journal_is_overwritten(data, tmp_path):
    write(tmp_path / "expected", data)
    stopped_after(5, tmp_path / "logits", data)
    (file,) = (tmp_path / "work").glob("*/logits.npy")
    with file.open("ab") as end:
        end.write(b"half a batch")
    assert resumed_at(tmp_path / "logits", data) == (5, BATCHES)
    assert files(tmp_path / "logits") == files(tmp_path / "expected")


@pytest.mark.parametrize("pack_views", [False, True])
def test_full_disk_keeps_finished_batches(data, tmp_path, pack_views):
    write(tmp_path / "expected", data, pack_views=pack_views)
    # A header and a few batches; the last one is incomplete.
    limit = 128 + 90 if not pack_views else 128 + 13 * 3 * 16 * 16 + 5
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limits[1]))
    try:
        with pytest.raises(StorageError) as caught:
            write(tmp_path / "logits", data, pack_views=pack_views)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert str(caught.value).startswith(str(tmp_path / "work"))
    assert "a file is larger than" in str(caught.value)
    assert "finished batches are kept" in str(caught.value)
    assert not (tmp_path / "logits").exists()
    done, _ = resumed_at(tmp_path / "logits", data, pack_views=pack_views)
    assert done > 0
    assert files(tmp_path / "logits") == files(tmp_path / "expected")


def test_existing_cache_is_kept_until_the_new_one_is_complete(data, tmp_path):
    key, _ = write(tmp_path / "logits", data)
    before = files(tmp_path / "logits")
    stopped_after(8, tmp_path / "logits", data, dtype="float32")
    assert files(tmp_path / "logits") == before
    write(tmp_path / "logits", data, dtype="float32")
    assert open_logit_cache(tmp_path / "logits", key).dtype == "float32"


def test_journal_interval(data, tmp_path, monkeypatch):
    now, journals = [0.0], []
    monkeypatch.setattr(journal.time, "monotonic", lambda: now[0])
    write_json = journal.write_json
    monkeypatch.setattr(
        journal, "write_json", lambda path, entry: (journals.append(entry), write_json(path, entry))
    )

    def advance_clock():
        now[0] += 1
        return False

    write(tmp_path / "logits", data, should_stop=advance_clock)
    # Every two seconds, and at the end.
    assert [entry["steps"] for entry in journals] == [3, 5, 7, 9, 9]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_process_killed_at_random_times_gives_the_same_bytes(tmp_path):
    killable = Killable(write_in)
    prepare(tmp_path / "prepared", MANY)

    killable.finish(tmp_path / "expected")
    start = time.monotonic()
    killable.finish(tmp_path / "again")
    seconds = time.monotonic() - start
    expected = files(tmp_path / "expected/logits")
    assert files(tmp_path / "again/logits") == expected
    log = tmp_path / "killed/log"
    rng = random.Random(7)
    kills = 0
    while kills < 8:
        process = killable.start(tmp_path / "killed")
        while not (log.exists() and log.stat().st_size):
            time.sleep(0.01)
        time.sleep(rng.uniform(0, seconds / 3))
        process.kill()
        process.join()
        if process.exitcode == 0:  # it finished before the kill: start again
            assert files(tmp_path / "killed/logits") == expected
            shutil.rmtree(tmp_path / "killed")
        else:
            assert process.exitcode == -signal.SIGKILL
            assert not (tmp_path / "killed/logits").exists()
            kills += 1
    killable.finish(tmp_path / "killed")
    assert files(tmp_path / "killed/logits") == expected
    assert "resumed" in log.read_text()
