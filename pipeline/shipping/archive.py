"""A reproducible tar.gz: written with fixed metadata, read as a stream and within limits."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from finch_runtime.errors import printable

from pipeline.errors import ArtifactError

REMEDY = "run `finch bundle`"
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Limits:
    """What an archive may hold; checked before the bytes are unpacked.

    Attributes:
        members: Number of files.
        total: Unpacked size in bytes.
        ratio: Unpacked by packed size. Weights hardly compress, so a bundle stays below 3.
        free: Unpacked size in bytes up to which ``ratio`` is not checked: models of tests
            compress well.
    """

    members: int = 1_000
    total: int = 4 << 30
    ratio: int = 20
    free: int = 64 << 20

    def bytes_of(self, packed: int) -> int:
        """How many bytes an archive of ``packed`` bytes may unpack to."""
        return min(self.total, max(self.free, self.ratio * packed))


def write_archive(path: Path, files: Mapping[str, bytes]) -> None:
    """Writes files, by their names in the archive; only names and content change the bytes."""
    with (
        path.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=9, mtime=0) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o644
            tar.addfile(member, io.BytesIO(content))


def unpack_archive(path: Path, folder: Path, limits: Limits | None = None) -> dict[str, str]:
    """Unpacks an archive into an empty folder; memory does not depend on what it holds.

    When it is refused, the files before the fault remain in ``folder``.

    Returns:
        The SHA-256 of every file, by its name in the archive.

    Raises:
        ArtifactError: The archive is missing, damaged or above the limits; or holds anything but
            plain files with distinct names inside of the archive's folders.
    """
    limits = limits or Limits()
    if not path.exists():
        raise ArtifactError(path, "is missing", REMEDY)
    if not path.is_file():  # a FIFO would wait for ever
        raise ArtifactError(path, "is not a file", REMEDY)
    hashes: dict[str, str] = {}
    with gzip.open(path) as packed:
        stream = _Stream(packed, path, limits.bytes_of(path.stat().st_size))
        try:
            # tarfile uses no other methods in this mode.
            with tarfile.open(fileobj=stream, mode="r:") as tar:  # type: ignore[call-overload]
                for member in tar:
                    if len(hashes) == limits.members:
                        stream.refuse(f"holds more than {limits.members:,} files")
                    hashes[member.name] = _unpack_member(tar, member, folder, path)
        except (tarfile.TarError, ValueError, OverflowError) as error:
            stream.refuse_damaged(error)
        # gzip verifies its checksum at the end of the file, which tar does not read.
        while stream.read(_CHUNK):
            pass
    return hashes


def _unpack_member(
    tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path, archive: Path
) -> str:
    # tarfile's own filters came with Python 3.11.4, and had a vulnerability with links.
    content = tar.extractfile(member) if _is_plain(member) else None
    name = printable(member.name)
    if content is None:
        raise ArtifactError(archive, f"its {name} is not a plain file", REMEDY)
    place = folder / member.name
    sha256 = hashlib.sha256()
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        file = place.open("xb")
    except (FileExistsError, NotADirectoryError):
        raise ArtifactError(archive, f"holds {name} twice", REMEDY) from None
    with file:
        while chunk := content.read(_CHUNK):
            sha256.update(chunk)
            file.write(chunk)
    return sha256.hexdigest()


def _is_plain(member: tarfile.TarInfo) -> bool:
    # A sparse file of any size takes a few bytes of the archive.
    return member.isreg() and not member.issparse() and _is_inside(member.name)


def _is_inside(name: str) -> bool:
    parts = name.split("/")
    return (
        name.isprintable()
        and not {"", ".", ".."} & set(parts)
        and not {"\\", ":"} & set(name)
        and max(len(part.encode()) for part in parts) <= 255
    )


class _Stream:
    """The decompressed archive, read forwards, up to a limit and in small parts.

    tarfile reads extended headers whole, whatever size they declare, and follows sizes that lead
    back to an earlier place.
    """

    def __init__(self, packed: gzip.GzipFile, path: Path, limit: int) -> None:
        self._packed = packed
        self._path = path
        self._limit = limit

    def tell(self) -> int:
        return self._packed.tell()

    def read(self, size: int) -> bytes:
        if not 0 <= size <= _CHUNK:
            self.refuse("is truncated, damaged or not a bundle (header of an impossible size)")
        try:
            content = self._packed.read(size)
        except (OSError, EOFError, zlib.error) as error:
            self.refuse_damaged(error)
        self._check(self.tell())
        return content

    def seek(self, place: int) -> int:
        if place < self.tell():
            self.refuse("is truncated, damaged or not a bundle (its members overlap)")
        self._check(place)
        try:
            return self._packed.seek(place)
        except (OSError, EOFError, zlib.error) as error:
            self.refuse_damaged(error)

    def _check(self, place: int) -> None:
        if place > self._limit:
            size = self._path.stat().st_size
            limit = f"{self._limit / 1e6:,.0f} MB from a file of {size / 1e6:,.1f} MB"
            self.refuse(f"unpacks to more than {limit}")

    def refuse(self, problem: str) -> NoReturn:
        raise ArtifactError(self._path, problem, REMEDY) from None

    def refuse_damaged(self, error: Exception) -> NoReturn:
        self.refuse(f"is truncated, damaged or not a bundle ({error})")
