import json
import random
import resource
import shutil
import signal
import time
from dataclasses import replace

import pytest
import torch

from pipeline.errors import Stopped, TrainingError
from pipeline.logit_cache import journal, open_logit_cache
from tests.killable import Killable
from tests.pipeline.logit_cache.small_cache import MANY, key_of, prepare, teacher, write, write_in

BATCHES = 3 * 3  # 3 views of 11 images in batches of 4


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def stopped_after(batches, folder, data, **options):
    """Writes some batches and stops, as after a signal; returns the message."""
    left = iter(range(batches - 1))
    with pytest.raises(Stopped) as caught:
        write(folder, data, should_stop=lambda: next(left, None) is None, **options)
    return str(caught.value)


def resumed_at(folder, data, **options):
    """Writes to the end; returns where it resumed, or None."""
    seen = []
    write(folder, data, on_resume=lambda *counts: seen.append(counts), **options)
    return seen[0] if seen else None


@pytest.mark.parametrize("pack_views", [False, True])
def test_a_cache_stopped_after_every_single_batch_has_the_same_bytes(data, tmp_path, pack_views):
    write(tmp_path / "whole", data, pack_views=pack_views, work=tmp_path / "elsewhere")
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
    assert files(folder) == files(tmp_path / "whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["logits", "whole"]


def test_progress_resumes(data, tmp_path):
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
def test_unfinished_files_of_other_inputs_are_discarded(data, tmp_path, changes):
    changes = dict(changes)
    key = replace(key_of(data), **changes.pop("of", {}))
    stopped_after(5, tmp_path / "logits", data)
    assert resumed_at(tmp_path / "logits", data, key=key, **changes) is None
    write(tmp_path / "fresh", data, key=key, **changes)
    assert files(tmp_path / "logits") == files(tmp_path / "fresh")
    assert not (tmp_path / "work").exists()


def test_another_number_of_threads_starts_again(data, tmp_path):
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
    "harm", [cut_journal, journal_of_a_list, journal_without_sizes, no_journal, short_file, no_file]
)
def test_damaged_unfinished_files_are_written_again(data, tmp_path, harm):
    write(tmp_path / "whole", data)
    stopped_after(5, tmp_path / "logits", data)
    harm(tmp_path / "work")
    assert resumed_at(tmp_path / "logits", data) is None
    assert files(tmp_path / "logits") == files(tmp_path / "whole")


def test_what_was_written_after_the_last_note_is_written_again(data, tmp_path):
    write(tmp_path / "whole", data)
    stopped_after(5, tmp_path / "logits", data)
    (file,) = (tmp_path / "work").glob("*/logits.npy")
    with file.open("ab") as end:
        end.write(b"half a batch")
    assert resumed_at(tmp_path / "logits", data) == (5, BATCHES)
    assert files(tmp_path / "logits") == files(tmp_path / "whole")


@pytest.mark.parametrize("pack_views", [False, True])
def test_a_full_disk_keeps_what_was_done(data, tmp_path, pack_views):
    write(tmp_path / "whole", data, pack_views=pack_views)
    # Room for a header and a few batches; the last of them is cut in the middle.
    room = 128 + 90 if not pack_views else 128 + 13 * 3 * 16 * 16 + 5
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
    try:
        with pytest.raises(TrainingError) as caught:
            write(tmp_path / "logits", data, pack_views=pack_views)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert str(caught.value).startswith(str(tmp_path / "work"))
    assert "File too large" in str(caught.value)
    assert not (tmp_path / "logits").exists()
    done, _ = resumed_at(tmp_path / "logits", data, pack_views=pack_views)
    assert done > 0
    assert files(tmp_path / "logits") == files(tmp_path / "whole")


def test_the_cache_that_is_there_stays_until_the_new_one_is_whole(data, tmp_path):
    key, _ = write(tmp_path / "logits", data)
    before = files(tmp_path / "logits")
    stopped_after(8, tmp_path / "logits", data, dtype="float32")
    assert files(tmp_path / "logits") == before
    write(tmp_path / "logits", data, dtype="float32")
    assert open_logit_cache(tmp_path / "logits", key).dtype == "float32"


def test_the_journal_is_written_as_often_as_it_is_due(data, tmp_path, monkeypatch):
    now, notes = [0.0], []
    monkeypatch.setattr(journal.time, "monotonic", lambda: now[0])
    write_json = journal.write_json
    monkeypatch.setattr(
        journal, "write_json", lambda path, note: (notes.append(note), write_json(path, note))
    )

    def a_second_later():
        now[0] += 1
        return False

    write(tmp_path / "logits", data, should_stop=a_second_later)
    # Two seconds apart, and at the end.
    assert [note["steps"] for note in notes] == [3, 5, 7, 9, 9]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_process_killed_at_random_moments_leaves_the_same_bytes(tmp_path):
    killable = Killable(write_in)
    prepare(tmp_path / "prepared", MANY)

    killable.finish(tmp_path / "whole")
    began = time.monotonic()
    killable.finish(tmp_path / "again")
    seconds = time.monotonic() - began
    whole = files(tmp_path / "whole/logits")
    assert files(tmp_path / "again/logits") == whole
    log = tmp_path / "killed/log"
    moments = random.Random(7)
    kills = 0
    while kills < 8:
        process = killable.start(tmp_path / "killed")
        while not (log.exists() and log.stat().st_size):
            time.sleep(0.01)
        time.sleep(moments.uniform(0, seconds / 3))
        process.kill()
        process.join()
        if process.exitcode == 0:  # it was faster; once more from the start
            assert files(tmp_path / "killed/logits") == whole
            shutil.rmtree(tmp_path / "killed")
        else:
            assert process.exitcode == -signal.SIGKILL
            assert not (tmp_path / "killed/logits").exists()
            kills += 1
    killable.finish(tmp_path / "killed")
    assert files(tmp_path / "killed/logits") == whole
    assert "resumed" in log.read_text()
