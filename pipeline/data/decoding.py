"""Decoding of all images by worker processes, resumable after an interruption.

Images are decoded in chunks. The result of a chunk is one file, written atomically, so an
interrupted run resumes from the finished chunks, and memory use does not grow with the data set.
"""

from __future__ import annotations

import contextlib
import faulthandler
import hashlib
import importlib.metadata
import math
import multiprocessing
import os
import pickle
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from finch_runtime.image_size import ImageSize, height_and_width, image_size
from numpy.typing import NDArray
from pebble import ProcessExpired, ProcessPool

from pipeline.code_fingerprint import code_fingerprint
from pipeline.data import decoding_checks
from pipeline.data.decoding_checks import DecodedImage, decode_image, unusable_image
from pipeline.data.sources.base import Sample
from pipeline.files import atomic_file, hash_value
from pipeline.progress import Track, silent

TIME_LIMIT_S = 60
"""Maximum time to decode one image, in seconds. A slower decoder is assumed to hang."""

_CHUNK_BYTES = 8 << 20
_CHUNK_IMAGES = 128


@dataclass(frozen=True)
class DecodedImages:
    """The fields of ``DecodedImage`` for many images; pixels stay on disk.

    Attributes:
        samples: The images.
        problems: Why each image cannot be used; empty for usable images.
        remarks: What is unusual about the file of each usable image; usually empty.
        records: Structured array [n] of ``decoding_checks.RECORD``; zeros for unusable images.
        image_size: Size of the decoded pixels, from which ``records`` are.
        fit: How images got this shape, see ``load_image``.
        channels: 3 for RGB, 1 for gray.
        other_sizes: Further sizes, each scaled from the file like the first.
    """

    samples: tuple[Sample, ...]
    problems: tuple[str, ...]
    remarks: tuple[str, ...]
    records: NDArray[np.void]
    image_size: ImageSize
    fit: str
    channels: Literal[3, 1]
    other_sizes: tuple[ImageSize, ...]
    _folder: Path
    _chunk_of: NDArray[np.int64]
    _row_of: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.samples)

    def select(self, indices: Sequence[int]) -> DecodedImages:
        """The images at ``indices``, in that order."""
        rows = np.asarray(indices, dtype=np.int64)
        return replace(
            self,
            samples=tuple(self.samples[row] for row in rows),
            problems=tuple(self.problems[row] for row in rows),
            remarks=tuple(self.remarks[row] for row in rows),
            **{name: getattr(self, name)[rows] for name in ("records", "_chunk_of", "_row_of")},
        )

    def usable(self) -> DecodedImages:
        """The images without a problem."""
        return self.select([i for i, problem in enumerate(self.problems) if not problem])

    def pixels(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint8]]]:
        """Yields (indices int64 [k], pixels uint8 [k, height, width, channels]), by chunks."""
        for indices, pixels in self.pixels_at((self.image_size,)):
            yield indices, pixels[self.image_size]

    def pixels_at(
        self, sizes: Sequence[ImageSize]
    ) -> Iterator[tuple[NDArray[np.int64], dict[ImageSize, NDArray[np.uint8]]]]:
        """As ``pixels``, at several of ``image_size`` and ``other_sizes``; pixels are by size."""
        for chunk in np.unique(self._chunk_of).tolist():
            indices = np.flatnonzero(self._chunk_of == chunk)
            rows = self._row_of[indices]
            with np.load(_chunk_file(self._folder, chunk), allow_pickle=False) as arrays:
                yield indices, {size: arrays[_pixels_key(size)][rows] for size in sizes}

    def discard(self) -> None:
        """Deletes the pixels; the other attributes remain."""
        shutil.rmtree(self._folder, ignore_errors=True)


def decode(
    samples: Sequence[Sample],
    folder: Path,
    *,
    image_size: ImageSize,
    fit: str,
    channels: Literal[3, 1] = 3,
    other_sizes: Sequence[ImageSize] = (),
    workers: int = 0,
    time_limit_s: float = TIME_LIMIT_S,
    track: Track = silent,
) -> DecodedImages:
    """Decodes all images in worker processes.

    An image whose decoder crashes or hangs gets an entry in ``problems``, like a damaged image.
    The result does not depend on ``workers``; 0 starts one process per available core.
    ``other_sizes`` differ from ``image_size`` and from each other. A file is decoded once for all
    sizes.

    ``folder`` contains the chunks. Chunks of an earlier run with the same images and options are
    reused; other folders in it are deleted.
    """
    sizes = (image_size, *other_sizes)
    work = folder / _cache_key(samples, [list(sizes), fit, channels])
    work.mkdir(parents=True, exist_ok=True)
    for other in folder.iterdir():
        if other != work:
            shutil.rmtree(other, ignore_errors=True)
    # Independent of the number of workers, so that runs with other numbers can reuse chunks.
    per_image = channels * sum(math.prod(height_and_width(size)) for size in sizes)
    length = min(_CHUNK_IMAGES, max(1, _CHUNK_BYTES // per_image))
    chunks = [samples[start : start + length] for start in range(0, len(samples), length)]

    def finish() -> Iterator[Sample]:
        missing = []
        for number, chunk in enumerate(chunks):
            if _is_intact(_chunk_file(work, number)):
                yield from chunk
            else:
                missing.append(number)
        decoder = _Decoder(sizes, fit, channels, time_limit_s)
        for number in _decode_chunks(chunks, missing, work, decoder, workers):
            yield from chunks[number]

    for _ in track(finish(), "decoding", len(samples)):
        pass
    problems: list[str] = []
    remarks: list[str] = []
    records: list[NDArray[np.void]] = []
    for number in range(len(chunks)):
        with np.load(_chunk_file(work, number), allow_pickle=False) as arrays:
            problems += arrays["problems"].tolist()
            remarks += arrays["remarks"].tolist()
            records.append(arrays["records"])
    texts = (tuple(problems), tuple(remarks))
    places = np.divmod(np.arange(len(samples)), length)
    found = np.concatenate(records)
    return DecodedImages(
        tuple(samples), *texts, found, image_size, fit, channels, tuple(other_sizes), work, *places
    )


def _cache_key(samples: Sequence[Sample], options: Sequence[Any]) -> str:
    """Hash of all inputs of the result; image files are identified by path, size and time.

    Samples are hashed one by one: with ``content``, each can hold the pixels of an image.
    """
    versions = [_version(name) for name in ("pillow", "pillow-heif", "imagehash", "numpy")]
    code = code_fingerprint(decoding_checks.__name__)
    total = hashlib.sha256(hash_value([code, versions, *options]).encode())
    for sample in samples:
        file: list[Any] = [sample.name, str(sample.path)]
        with contextlib.suppress(OSError):
            status = sample.path.stat()
            file += [status.st_size, status.st_mtime_ns]
        content = pickle.dumps(sample.content, protocol=5) if sample.content else b""
        file.append(hashlib.sha256(content).hexdigest())
        total.update(hash_value(file).encode())
    return total.hexdigest()[:32]


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _chunk_file(folder: Path, number: int) -> Path:
    return folder / f"{number:06}.npz"


def _pixels_key(size: ImageSize) -> str:
    return f"pixels_{size}"


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
    decoder: _Decoder,
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
            pool.schedule(decoder.chunk, args=(chunks[number], _chunk_file(folder, number))): number
            for number in missing
        }
        for done in as_completed(running):
            number = running.pop(done)
            try:
                done.result()
            except ProcessExpired:
                # The decoder of one image crashed. Decode the images as separate tasks to find it.
                images = [decoder.decode_separately(pool, sample) for sample in chunks[number]]
                _write_chunk(images, _chunk_file(folder, number))
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
    """Discards stderr, because C libraries print messages about damaged files."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    os.close(null)


def _write_chunk(images: Sequence[DecodedImage], path: Path) -> None:
    by_size = zip(*((image.pixels, *image.others) for image in images), strict=True)
    arrays: dict[str, Any] = {
        "problems": [image.problem for image in images],
        "remarks": [image.remark for image in images],
        "records": np.stack([image.record for image in images]),
    }
    for pixels in map(np.stack, by_size):
        arrays[_pixels_key(image_size(*pixels.shape[1:3]))] = pixels
    with atomic_file(path) as temporary:
        np.savez(temporary, **arrays)


@dataclass(frozen=True)
class _Decoder:
    """Decodes images in worker processes."""

    sizes: tuple[ImageSize, ...]
    fit: str
    channels: int
    time_limit_s: float

    def decode(self, sample: Sample) -> DecodedImage:
        # Ends the process from a C thread, even if a decoder never releases the GIL.
        faulthandler.dump_traceback_later(self.time_limit_s, exit=True)
        try:
            size, *other_sizes = self.sizes
            return decode_image(sample, size, self.fit, other_sizes, self.channels)
        finally:
            faulthandler.cancel_dump_traceback_later()

    def chunk(self, samples: Sequence[Sample], path: Path) -> None:
        _write_chunk([self.decode(sample) for sample in samples], path)

    def decode_separately(self, pool: ProcessPool, sample: Sample) -> DecodedImage:
        try:
            image: DecodedImage = pool.schedule(self.decode, args=(sample,)).result()
        except ProcessExpired:
            problem = f"crashes the decoder, or takes more than {self.time_limit_s:g} s to decode"
            size, *other_sizes = self.sizes
            return unusable_image(problem, size, other_sizes, self.channels)
        return image
