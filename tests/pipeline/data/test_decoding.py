import ctypes
import io
import os
import time
import tracemalloc
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from finch_runtime.images import load_image

from pipeline.data import decoding as module
from pipeline.data.decoding import decode
from pipeline.data.sources import Sample
from pipeline.data.sources.base import encode_ppm
from tests.damaged_images import draw, encode

SIZE = 16


@pytest.fixture
def samples(tmp_path, monkeypatch):
    """Nine images, the fourth of them truncated, in chunks of four."""
    monkeypatch.setattr(module, "_CHUNK_IMAGES", 4)
    rng = np.random.default_rng(0)
    (tmp_path / "samples").mkdir()
    listed = []
    for number in range(9):
        path = tmp_path / "samples" / f"{number}.jpg"
        content = encode(draw(rng), "JPEG")
        path.write_bytes(content[:300] if number == 3 else content)
        listed.append(Sample(path, path.name, number % 2))
    return tuple(listed)


@pytest.fixture
def run(samples, tmp_path):
    def call(listed=samples, *, size=SIZE, fit="crop", workers=1, **options):
        options.setdefault("folder", tmp_path / "work")
        return decode(listed, image_size=size, fit=fit, workers=workers, **options)

    return call


def all_pixels(decoded):
    found = np.zeros((len(decoded), SIZE, SIZE, 3), np.uint8)
    for places, pixels in decoded.pixels():
        found[places] = pixels
    return found


def chunks(tmp_path):
    return sorted((tmp_path / "work").glob("*/*.npz"))


def test_every_image_is_decoded_as_on_the_device(run, samples):
    decoded = run()
    assert [bool(problem) for problem in decoded.problems] == [n == 3 for n in range(9)]
    pixels = all_pixels(decoded)
    for number in (0, 1, 2, 4, 8):
        assert np.array_equal(pixels[number], load_image(samples[number].path, SIZE, "crop"))
    assert not pixels[3].any()


def test_any_number_of_workers_gives_the_same_result(run, tmp_path):
    one, three = (run(workers=count, folder=tmp_path / str(count)) for count in (1, 3))
    assert np.array_equal(one.records, three.records)
    assert one.problems == three.problems
    assert np.array_equal(all_pixels(one), all_pixels(three))


def test_selected_images_have_their_own_pixels(run):
    decoded = run()
    pixels = all_pixels(decoded)
    usable = decoded.usable()
    assert [sample.name for sample in usable.samples] == [f"{n}.jpg" for n in range(9) if n != 3]
    picked = usable.select([7, 0, 4])
    assert [sample.name for sample in picked.samples] == ["8.jpg", "0.jpg", "5.jpg"]
    assert np.array_equal(all_pixels(picked), pixels[[8, 0, 5]])
    assert np.array_equal(picked.records, decoded.records[[8, 0, 5]])
    assert list(decoded.select([]).pixels()) == []


def test_further_sizes_are_scaled_from_the_file_and_change_nothing_else(run, samples, tmp_path):
    one, several = run(), run(other_sizes=(16, 20), folder=tmp_path / "several")
    assert np.array_equal(all_pixels(one), all_pixels(several))
    assert np.array_equal(one.records, several.records)
    assert (one.problems, one.remarks) == (several.problems, several.remarks)
    seen = 0
    for indices, pixels in several.usable().pixels_at((20, 16)):
        for size, images in pixels.items():
            for index, image in zip(indices, images, strict=True):
                path = several.usable().samples[index].path
                assert np.array_equal(image, load_image(path, size, "crop"))
                seen += 1
    assert seen == 2 * (len(samples) - 1)


def test_an_interrupted_run_resumes_from_intact_chunks(run, tmp_path):
    whole = all_pixels(run())
    kept, torn, missing = chunks(tmp_path)
    before = kept.stat().st_mtime_ns
    torn.write_bytes(torn.read_bytes()[:-100])
    missing.unlink()
    assert np.array_equal(all_pixels(run()), whole)
    assert kept.stat().st_mtime_ns == before, "what was done was done again"


def test_a_corrupt_chunk_is_decoded_again(run, tmp_path):
    whole = all_pixels(run())
    path = chunks(tmp_path)[0]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert np.array_equal(all_pixels(run()), whole)


@pytest.mark.parametrize("change", ["file", "size", "fit", "order"])
def test_chunks_of_other_inputs_are_not_reused(run, samples, tmp_path, change):
    run()
    before = {path.parent for path in chunks(tmp_path)}
    if change == "file":
        path = samples[0].path
        path.write_bytes(encode(draw(np.random.default_rng(5)), "JPEG"))
        decoded = run()
        assert np.array_equal(all_pixels(decoded)[0], load_image(path, SIZE, "crop"))
    elif change == "order":
        decoded = run(samples[::-1])
        assert np.array_equal(all_pixels(decoded)[0], load_image(samples[8].path, SIZE, "crop"))
    else:
        run(size=24) if change == "size" else run(fit="stretch")
    after = {path.parent for path in chunks(tmp_path)}
    assert len(after) == 1
    assert not before & after, "the old work was left lying"


def test_progress_counts_every_image_including_reused_ones(run):
    def track(items, description, total=None):
        for item in items:
            told.append((description, total))
            yield item

    for _ in range(2):
        told = []
        run(track=track)
        assert told == [("decoding", 9)] * 9


def crash():
    ctypes.string_at(0)


def hang():
    time.sleep(600)


def vanish():
    os._exit(3)


@pytest.mark.parametrize("culprit", [crash, hang, vanish], ids=lambda f: f.__name__)
def test_a_decoder_that_crashes_or_hangs_affects_one_image(run, samples, culprit):
    listed = [*samples[:5], replace(samples[5], content=culprit), *samples[6:]]
    decoded = run(listed, time_limit_s=4.0)  # others may be slow on a loaded machine
    assert "crashes the decoder" in decoded.problems[5]
    assert [n for n, problem in enumerate(decoded.problems) if problem] == [3, 5]
    assert np.array_equal(all_pixels(decoded)[6], load_image(samples[6].path, SIZE, "crop"))


def rows(content):
    return content


def test_samples_with_content_are_identified_by_it(run, tmp_path):
    def listed(seed):
        content = encode(draw(np.random.default_rng(seed)), "PNG")
        return content, (Sample(tmp_path, "drawn", 0, content=partial(rows, content)),)

    for seed in (1, 2):
        content, made = listed(seed)
        expected = load_image(io.BytesIO(content), SIZE, "crop")
        assert np.array_equal(all_pixels(run(made))[0], expected)


def test_discard_deletes_all_files(run, tmp_path):
    run().discard()
    assert list((tmp_path / "work").iterdir()) == []


def test_large_pixels_make_small_chunks(run, tmp_path):
    run(size=1024)
    assert len(chunks(tmp_path)) == 9 / 2 + 0.5


def test_the_key_of_finished_work_does_not_hold_all_pixels(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (1000, 64, 64, 3), dtype=np.uint8)
    samples = [
        Sample(tmp_path, f"{i}", 0, content=partial(encode_ppm, image))
        for i, image in enumerate(pixels)
    ]
    tracemalloc.start()
    try:
        key = module._cache_key(samples, [64, "crop"])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < pixels.nbytes / 4
    pixels[500, 3, 4, 1] ^= 1
    assert module._cache_key(samples, [64, "crop"]) != key
