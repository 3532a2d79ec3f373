"""Decoding of all images by worker processes, resumable after an interruption.

Images are decoded in chunks. The result of a chunk is one file, written atomically, so an
interrupted run resumes from the finished chunks, and memory use does not grow with the data set.
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib.metadata
import multiprocessing
import os
import pickle
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import finch_runtime.images
import numpy as np
from numpy.typing import NDArray
from pebble import ProcessExpired, ProcessPool

from pipeline.data import decoding_checks
from pipeline.data.decoding_checks import DecodedImage, UnreadableImage, decode_image
from pipeline.data.sources.base import Sample
from pipeline.files import hash_file, hash_value, whole_file
from pipeline.progress import Track, silent

TIME_LIMIT_S = 60
"""Maximum time to decode one image, in seconds; a decoder that takes longer hangs."""

_CHUNK_BYTES = 8 << 20
_CHUNK_IMAGES = 128
_Result = DecodedImage | UnreadableImage
_ARRAYS = ("sizes", "contrasts", "file_hashes", "pixel_hashes", "perceptual_hashes")


@dataclass(frozen=True)
class _Options:
    image_size: int
    fit: str
    time_limit_s: float


@dataclass(frozen=True)
class DecodedImages:
    """The fields of ``DecodedImage`` as arrays with one row per image; pixels stay on disk.

    Attributes:
        samples: The images.
        problems: Why an image cannot be used, empty if it can. Rows of unusable images are zeros.
        sizes: Width and height, int32 [n, 2].
        contrasts: float32 [n].
        file_hashes: uint8 [n, 32].
        pixel_hashes: uint8 [n, 32].
        perceptual_hashes: uint64 [n, words].
        image_size: Height and width of the decoded pixels.
        fit: ``crop`` or ``stretch``.
    """

    samples: tuple[Sample, ...]
    problems: tuple[str, ...]
    sizes: NDArray[np.int32]
    contrasts: NDArray[np.float32]
    file_hashes: NDArray[np.uint8]
    pixel_hashes: NDArray[np.uint8]
    perceptual_hashes: NDArray[np.uint64]
    image_size: int
    fit: str
    _folder: Path
    _chunk_of: NDArray[np.int64]
    _row_of: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.samples)

    def only(self, indices: Sequence[int]) -> DecodedImages:
        """The images at ``indices``, in that order."""
        rows = np.asarray(indices, dtype=np.int64)
        return replace(
            self,
            samples=tuple(self.samples[row] for row in rows),
            problems=tuple(self.problems[row] for row in rows),
            **{name: getattr(self, name)[rows] for name in (*_ARRAYS, "_chunk_of", "_row_of")},
        )

    def usable(self) -> DecodedImages:
        """The images without a problem."""
        return self.only([i for i, problem in enumerate(self.problems) if not problem])

    def pixels(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint8]]]:
        """Reads the pixels of all images, one chunk at a time.

        Yields:
            Indices int64 [k] and their pixels uint8 [k, size, size, 3].
        """
        order = np.argsort(self._chunk_of, kind="stable")
        chunks, starts = np.unique(self._chunk_of[order], return_index=True)
        for chunk, indices in zip(chunks, np.split(order, starts[1:]), strict=True):
            with np.load(_chunk_file(self._folder, int(chunk)), allow_pickle=False) as arrays:
                yield indices, arrays["pixels"][self._row_of[indices]]

    def discard(self) -> None:
        """Deletes the pixels; the other attributes remain."""
        shutil.rmtree(self._folder, ignore_errors=True)


def decode(
    samples: Sequence[Sample],
    folder: Path,
    *,
    image_size: int,
    fit: str,
    workers: int = 0,
    time_limit_s: float = TIME_LIMIT_S,
    track: Track = silent,
) -> DecodedImages:
    """Decodes all images in worker processes.

    An image that crashes or blocks its decoder gets an entry in ``problems``, as a damaged one
    does. The result does not depend on ``workers``.

    Args:
        samples: The images.
        folder: Working folder. Chunks of an earlier run with the same images and options are
            reused, everything else in it is deleted.
        image_size: Height and width of the result in pixels.
        fit: ``crop`` or ``stretch`` (``prepare.fit``).
        workers: Number of processes; 0 is one per available core.
        time_limit_s: Maximum time per image in seconds.
        track: Shows progress.
    """
    work = folder / _cache_key(samples, image_size, fit)
    work.mkdir(parents=True, exist_ok=True)
    for other in folder.iterdir():
        if other != work:
            shutil.rmtree(other, ignore_errors=True)
    # Independent of the number of workers, so that chunks can be reused with any.
    length = min(_CHUNK_IMAGES, max(1, _CHUNK_BYTES // (3 * image_size**2)))
    chunks = [samples[start : start + length] for start in range(0, len(samples), length)]
    options = _Options(image_size, fit, time_limit_s)

    def run() -> Iterator[None]:
        missing = []
        for number, chunk in enumerate(chunks):
            if _is_intact(_chunk_file(work, number)):
                yield from (None for _ in chunk)
            else:
                missing.append(number)
        for number in _decode_chunks(chunks, missing, work, options, workers):
            yield from (None for _ in chunks[number])

    for _ in track(run(), "decoding", len(samples)):
        pass
    arrays = _load_arrays([_chunk_file(work, number) for number in range(len(chunks))])
    return DecodedImages(
        samples=tuple(samples),
        problems=tuple(str(problem) for problem in arrays.pop("problems")),
        image_size=image_size,
        fit=fit,
        _folder=work,
        _chunk_of=np.arange(len(samples)) // length,
        _row_of=np.arange(len(samples)) % length,
        **arrays,
    )


def _cache_key(samples: Sequence[Sample], image_size: int, fit: str) -> str:
    """Hash of everything that the result depends on; image files are identified without reading."""

    def identify(sample: Sample) -> list[Any]:
        file: list[Any] = [sample.name, str(sample.path)]
        with contextlib.suppress(OSError):
            status = sample.path.stat()
            file += [status.st_size, status.st_mtime_ns]
        return [*file, pickle.dumps(sample.content, protocol=5).hex() if sample.content else ""]

    modules = (decoding_checks, finch_runtime.images)
    code = [hash_file(Path(str(module.__file__))) for module in modules]
    versions = [importlib.metadata.version(name) for name in ("pillow", "imagehash", "numpy")]
    return hash_value([code, versions, image_size, fit, [identify(s) for s in samples]])[:32]


def _load_arrays(files: Sequence[Path]) -> dict[str, NDArray[Any]]:
    """All arrays but the pixels, concatenated."""
    parts: dict[str, list[NDArray[Any]]] = {name: [] for name in (*_ARRAYS, "problems")}
    for file in files:
        with np.load(file, allow_pickle=False) as arrays:
            for name, found in parts.items():
                found.append(arrays[name])
    return {name: np.concatenate(found) for name, found in parts.items()}


def _chunk_file(folder: Path, number: int) -> Path:
    return folder / f"{number:06}.npz"


def _is_intact(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as file:
            return file.testzip() is None
    except (OSError, zipfile.BadZipFile):
        return False


def _decode_chunks(
    chunks: Sequence[Sequence[Sample]],
    missing: Sequence[int],
    folder: Path,
    options: _Options,
    workers: int,
) -> Iterator[int]:
    """Writes the missing chunk files; yields the number of every finished chunk."""
    if not missing:
        return
    # fork would copy locks that this process's threads hold.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    pool = ProcessPool(
        max_workers=min(workers or _cores(), len(missing)), initializer=_silence, context=context
    )
    try:
        running: dict[Future[None], int] = {
            pool.schedule(
                _decode_chunk, args=(chunks[number], _chunk_file(folder, number), options)
            ): number
            for number in missing
        }
        for done in as_completed(running):
            number = running.pop(done)
            try:
                done.result()
            except ProcessExpired:
                # One image crashed its decoder: decode each in a process of its own.
                results = [_decode_alone(pool, sample, options) for sample in chunks[number]]
                _write_chunk(results, _chunk_file(folder, number), options)
            yield number
    except BaseException:
        pool.stop()
        raise
    finally:
        pool.close()
        pool.join()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _silence() -> None:
    """Redirects stderr, on which C libraries report damaged files."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    os.close(null)


def _decode_alone(pool: ProcessPool, sample: Sample, options: _Options) -> _Result:
    try:
        result: _Result = pool.schedule(_decode_with_limit, args=(sample, options)).result()
    except ProcessExpired:
        return UnreadableImage(f"crashes its decoder, or takes over {options.time_limit_s:g} s")
    return result


def _decode_with_limit(sample: Sample, options: _Options) -> _Result:
    # Ends the process from a C thread, even if a decoder never releases the GIL.
    faulthandler.dump_traceback_later(options.time_limit_s, exit=True)
    try:
        return decode_image(sample, options.image_size, options.fit)
    finally:
        faulthandler.cancel_dump_traceback_later()


def _decode_chunk(samples: Sequence[Sample], path: Path, options: _Options) -> None:
    _write_chunk([_decode_with_limit(sample, options) for sample in samples], path, options)


def _write_chunk(results: Sequence[_Result], path: Path, options: _Options) -> None:
    size, words = options.image_size, decoding_checks.HASH_SIDE**2 // 64
    blank = DecodedImage(
        np.zeros((size, size, 3), np.uint8), 0, 0, 0.0, bytes(32), bytes(32), np.zeros(words, "u8")
    )
    images = [blank if isinstance(r, UnreadableImage) else r for r in results]
    with whole_file(path) as temporary:
        np.savez(
            temporary,
            problems=[r.problem if isinstance(r, UnreadableImage) else "" for r in results],
            pixels=np.stack([image.pixels for image in images]),
            sizes=np.array([(image.width, image.height) for image in images], np.int32),
            contrasts=np.array([image.contrast for image in images], np.float32),
            file_hashes=np.stack([np.frombuffer(image.file_hash, np.uint8) for image in images]),
            pixel_hashes=np.stack([np.frombuffer(image.pixel_hash, np.uint8) for image in images]),
            perceptual_hashes=np.stack([image.perceptual_hash for image in images]),
        )
