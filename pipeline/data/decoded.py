"""All photographs decoded, once, by several processes, in a folder from which a run can go on.

Photographs are looked at in chunks. A chunk's results are one file, written whole, so that a run
that was ended at any moment goes on from the chunks that are there, and memory holds a few chunks
however many photographs there are.
"""

from __future__ import annotations

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
from pipeline.data.decoding_checks import Bad, Seen, look_at
from pipeline.data.sources.photos import Photo
from pipeline.files import hash_file, hash_value, whole_file
from pipeline.progress import Track, silent

TIME_LIMIT_S = 60
"""A decoder that takes longer over one photograph hangs, or is made to."""

_CHUNK_BYTES = 8 << 20
_CHUNK_PHOTOS = 128


@dataclass(frozen=True)
class _Recipe:
    image_size: int
    fit: str
    time_limit_s: float


@dataclass(frozen=True)
class Decoded:
    """What was found out about photographs, and where their pixels lie.

    Attributes:
        photos: The photographs; row i of every array is of ``photos[i]``.
        problems: Why each cannot be used; empty for one that can. A bad one's rows are zeros.
        sizes: int32 [n, 2], width and height of the file's image.
        contrasts: float32 [n], standard deviation of the grey of the pixels.
        file_hashes: uint8 [n, 32], SHA-256 of the bytes.
        pixel_hashes: uint8 [n, 32], SHA-256 of the pixels.
        look_hashes: uint64 [n, words], perceptual hashes.
        image_size: Side of the pixels.
        fit: How they were made square.
    """

    photos: tuple[Photo, ...]
    problems: tuple[str, ...]
    sizes: NDArray[np.int32]
    contrasts: NDArray[np.float32]
    file_hashes: NDArray[np.uint8]
    pixel_hashes: NDArray[np.uint8]
    look_hashes: NDArray[np.uint64]
    image_size: int
    fit: str
    _folder: Path
    _chunk_of: NDArray[np.int64]
    _row_of: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.photos)

    def only(self, places: Sequence[int]) -> Decoded:
        """The photographs at some places, in that order."""
        at = np.asarray(places, dtype=np.int64)
        return replace(
            self,
            photos=tuple(self.photos[place] for place in at),
            problems=tuple(self.problems[place] for place in at),
            **{
                name: getattr(self, name)[at]
                for name in (
                    *("sizes", "contrasts", "file_hashes", "pixel_hashes", "look_hashes"),
                    *("_chunk_of", "_row_of"),
                )
            },
        )

    def usable(self) -> Decoded:
        """The photographs that can be used."""
        return self.only([i for i, problem in enumerate(self.problems) if not problem])

    def pixels(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint8]]]:
        """Goes through all photographs once, a chunk at a time.

        Yields:
            Places int64 [k], and the pixels uint8 [k, size, size, 3] of the photographs there.
        """
        order = np.argsort(self._chunk_of, kind="stable")
        chunks, starts = np.unique(self._chunk_of[order], return_index=True)
        for chunk, places in zip(chunks, np.split(order, starts[1:]), strict=True):
            with np.load(_chunk_file(self._folder, int(chunk)), allow_pickle=False) as arrays:
                yield places, arrays["pixels"][self._row_of[places]]

    def discard(self) -> None:
        """Removes the files; the pixels are gone, what was found out stays."""
        shutil.rmtree(self._folder, ignore_errors=True)


def decode(
    photos: Sequence[Photo],
    folder: Path,
    *,
    image_size: int,
    fit: str,
    workers: int = 0,
    time_limit_s: float = TIME_LIMIT_S,
    track: Track = silent,
) -> Decoded:
    """Looks at every photograph, in processes of their own.

    A damaged photograph ends up in ``problems``, and so does one that crashes its decoder or on
    which it hangs: that costs one process. The result does not depend on ``workers``.

    Args:
        photos: What to decode.
        folder: Of the work at hand. What an earlier run left there for the same photographs and
            settings is taken over; anything else in it is removed.
        image_size: Side of the pixels made, in pixels.
        fit: ``crop`` or ``stretch`` (see ``Prepare.fit``).
        workers: Processes; 0 is one per core that this process may use.
        time_limit_s: After which a decoder that is still at the same photograph is ended.
        track: Shows progress.
    """
    work = folder / _key(photos, image_size, fit)
    work.mkdir(parents=True, exist_ok=True)
    for other in folder.iterdir():
        if other != work:
            shutil.rmtree(other, ignore_errors=True)
    # Of the size alone, so that another number of workers finds the same chunks.
    length = min(_CHUNK_PHOTOS, max(1, _CHUNK_BYTES // (3 * image_size**2)))
    chunks = [photos[start : start + length] for start in range(0, len(photos), length)]

    recipe = _Recipe(image_size, fit, time_limit_s)

    def run() -> Iterator[None]:
        missing = []
        for number, chunk in enumerate(chunks):
            if _is_whole(_chunk_file(work, number)):
                yield from (None for _ in chunk)
            else:
                missing.append(number)
        for number in _decode_chunks(chunks, missing, work, recipe, workers):
            yield from (None for _ in chunks[number])

    for _ in track(run(), "decoding", len(photos)):
        pass
    return _gather(tuple(photos), work, len(chunks), length, image_size, fit)


def _key(photos: Sequence[Photo], image_size: int, fit: str) -> str:
    """Names the work by all that its result depends on, without reading the photographs."""
    code = [
        hash_file(Path(str(module.__file__))) for module in (decoding_checks, finch_runtime.images)
    ]
    versions = [importlib.metadata.version(name) for name in ("pillow", "imagehash", "numpy")]
    what = [[photo.name, *_identity(photo)] for photo in photos]
    return hash_value([code, versions, image_size, fit, what])[:32]


def _identity(photo: Photo) -> list[Any]:
    try:
        about = photo.path.stat()
        file: list[Any] = [str(photo.path), about.st_size, about.st_mtime_ns]
    except OSError:
        file = [str(photo.path)]
    return [*file, pickle.dumps(photo.content, protocol=5).hex() if photo.content else ""]


def _chunk_file(folder: Path, number: int) -> Path:
    return folder / f"{number:06}.npz"


def _is_whole(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as file:
            return file.testzip() is None
    except (OSError, zipfile.BadZipFile):
        return False


def _decode_chunks(
    chunks: Sequence[Sequence[Photo]],
    missing: Sequence[int],
    folder: Path,
    recipe: _Recipe,
    workers: int,
) -> Iterator[int]:
    """Makes the missing chunks' files and yields the number of each that is done."""
    if not missing:
        return
    # Not forked from this process, whose threads a fork would leave in any state.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    pool = ProcessPool(
        max_workers=min(workers or _cores(), len(missing)),
        initializer=_silence,
        context=context,
    )
    try:
        running: dict[Future[None], int] = {
            pool.schedule(
                _decode_chunk,
                args=(chunks[number], _chunk_file(folder, number), recipe),
            ): number
            for number in missing
        }
        for done in as_completed(running):
            number = running.pop(done)
            try:
                done.result()
            except ProcessExpired:
                # One of them is to blame, so each gets a process to itself.
                looks = [_look_alone(pool, photo, recipe) for photo in chunks[number]]
                _write_chunk(looks, _chunk_file(folder, number), recipe)
            yield number
    except BaseException:
        pool.stop()
        raise
    finally:
        pool.close()
        pool.join()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _look_alone(pool: ProcessPool, photo: Photo, recipe: _Recipe) -> Seen | Bad:
    try:
        looked: Seen | Bad = pool.schedule(_look_watched, args=(photo, recipe)).result()
    except ProcessExpired:
        return Bad(f"crashes its decoder, or keeps it busy for {recipe.time_limit_s:g} s")
    return looked


def _silence() -> None:
    """What decoders written in C print about damaged files, they print past Python."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)


def _look_watched(photo: Photo, recipe: _Recipe) -> Seen | Bad:
    # A thread outside of Python ends the process, even one that a decoder does not let go of.
    faulthandler.dump_traceback_later(recipe.time_limit_s, exit=True)
    try:
        return look_at(photo, recipe.image_size, recipe.fit)
    finally:
        faulthandler.cancel_dump_traceback_later()


def _decode_chunk(photos: Sequence[Photo], path: Path, recipe: _Recipe) -> None:
    _write_chunk([_look_watched(photo, recipe) for photo in photos], path, recipe)


def _write_chunk(looks: Sequence[Seen | Bad], path: Path, recipe: _Recipe) -> None:
    count, side = len(looks), recipe.image_size
    arrays: dict[str, NDArray[Any]] = {
        "pixels": np.zeros((count, side, side, 3), np.uint8),
        "sizes": np.zeros((count, 2), np.int32),
        "contrasts": np.zeros(count, np.float32),
        "file_hashes": np.zeros((count, 32), np.uint8),
        "pixel_hashes": np.zeros((count, 32), np.uint8),
        "look_hashes": np.zeros((count, decoding_checks.HASH_SIDE**2 // 64), np.uint64),
        "problems": np.array([seen.problem if isinstance(seen, Bad) else "" for seen in looks]),
    }
    for row, seen in enumerate(looks):
        if isinstance(seen, Seen):
            arrays["pixels"][row] = seen.pixels
            arrays["sizes"][row] = seen.width, seen.height
            arrays["contrasts"][row] = seen.contrast
            arrays["file_hashes"][row] = np.frombuffer(seen.file_hash, np.uint8)
            arrays["pixel_hashes"][row] = np.frombuffer(seen.pixel_hash, np.uint8)
            arrays["look_hashes"][row] = seen.look_hash
    with whole_file(path) as temporary:
        np.savez(temporary, **arrays)  # type: ignore[arg-type]


def _gather(
    photos: tuple[Photo, ...],
    folder: Path,
    chunks: int,
    length: int,
    image_size: int,
    fit: str,
) -> Decoded:
    found: dict[str, list[NDArray[Any]]] = {}
    for number in range(chunks):
        with np.load(_chunk_file(folder, number), allow_pickle=False) as arrays:
            for name in arrays.files:
                if name != "pixels":
                    found.setdefault(name, []).append(arrays[name])
    whole = {name: np.concatenate(parts) for name, parts in found.items()}
    return Decoded(
        photos=photos,
        problems=tuple(str(problem) for problem in whole.pop("problems")),
        image_size=image_size,
        fit=fit,
        _folder=folder,
        _chunk_of=np.arange(len(photos)) // length,
        _row_of=np.arange(len(photos)) % length,
        **whole,
    )
