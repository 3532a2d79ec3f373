"""Archives are read within limits, whatever they hold."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import ArtifactError
from pipeline.shipping.archive import Limits, unpack_archive, write_archive

FILES = {"a/model.onnx": bytes(range(256)) * 9000, "a/empty": b"", "a/b/c.txt": b"text\n"}


def packed(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz", format=tarfile.PAX_FORMAT) as tar:
        for member, content in members:
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def member(name: str, content: bytes = b"") -> tuple[tarfile.TarInfo, bytes]:
    return tarfile.TarInfo(name), content


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "unpacked").mkdir()
    return tmp_path / "unpacked"


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(st.text("abcß漢 .", min_size=3).map("x{}x".format), st.binary()))
def test_what_is_written_is_read(files: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        archive, folder = Path(temporary, "a.tar.gz"), Path(temporary, "unpacked")
        write_archive(archive, files)
        hashes = unpack_archive(archive, folder)
        assert hashes == {name: hashlib.sha256(files[name]).hexdigest() for name in files}
        assert {name: (folder / name).read_bytes() for name in files} == files


def test_large_files_arrive_whole(tmp_path: Path, folder: Path) -> None:
    write_archive(tmp_path / "a.tar.gz", FILES)
    unpack_archive(tmp_path / "a.tar.gz", folder)
    assert {name: (folder / name).read_bytes() for name in FILES} == FILES


UNPACK = """
import resource, sys
from pathlib import Path
from pipeline.errors import ArtifactError
from pipeline.shipping.archive import unpack_archive
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    unpack_archive(Path(sys.argv[1]), Path(sys.argv[2]))
except ArtifactError as error:
    print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


def zeros(name: str, size: int) -> bytes:
    """A tar.gz of one member of ``size`` zero bytes."""
    header = tarfile.TarInfo(name)
    header.size = size
    stream = io.BytesIO()
    with gzip.GzipFile(fileobj=stream, mode="wb", compresslevel=1) as file:
        file.write(header.tobuf())
        for _ in range(size >> 20):
            file.write(bytes(1 << 20))
    return stream.getvalue()


def extended_header(size: int) -> bytes:
    """A tar.gz whose first extended header has ``size`` bytes, which tarfile reads whole."""
    header = tarfile.TarInfo("name")
    header.type, header.size = tarfile.XHDTYPE, size
    stream = io.BytesIO()
    with gzip.GzipFile(fileobj=stream, mode="wb", compresslevel=1) as file:
        file.write(header.tobuf())
        for _ in range(size >> 20):
            file.write(bytes(1 << 20))
    return stream.getvalue()


@pytest.mark.parametrize("bomb", [zeros, lambda _, size: extended_header(size)])
def test_a_bomb_is_refused_early(tmp_path: Path, folder: Path, bomb) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "a.tar.gz").write_bytes(bomb("a/model", 600 << 20))
    done = subprocess.run(
        [sys.executable, "-c", UNPACK, tmp_path / "a.tar.gz", folder],
        capture_output=True,
        text=True,
        check=True,
    )
    problem, memory = done.stdout.splitlines()
    assert "unpacks to more than" in problem or "impossible size" in problem
    assert int(memory) < 20 << 20
    assert sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) <= 64 << 20


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        (Limits(members=2), "more than 2 files"),
        (Limits(total=1 << 20), "more than 1 MB"),
        (Limits(free=1 << 20), "more than"),
    ],
)
def test_every_limit_holds(tmp_path: Path, folder: Path, limits: Limits, expected: str) -> None:
    write_archive(tmp_path / "a.tar.gz", FILES)
    with pytest.raises(ArtifactError, match=expected):
        unpack_archive(tmp_path / "a.tar.gz", folder, limits)


def test_content_that_does_not_compress_may_have_any_size(tmp_path: Path, folder: Path) -> None:
    write_archive(tmp_path / "a.tar.gz", {"a/model": os.urandom(3 << 20)})
    unpack_archive(tmp_path / "a.tar.gz", folder, Limits(free=0))


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ([member("a/x"), member("a/x")], "a/x twice"),
        ([member("a/x"), member("a/x/y")], "a/x/y twice"),
        ([member("a/" + "x" * 256)], "not a plain file"),
        ([member("a/\x1b[2J")], r"a/\\x1b\[2J is not a plain file"),
        ([member("a/\udc80")], r"a/\\udc80 is not a plain file"),
        ([member("a/\u202egnp.x")], r"a/\\u202egnp\.x is not a plain file"),
        ([member("a/\nb")], r"a/\\nb is not a plain file"),
        ([member("")], "not a plain file"),
    ],
)
def test_unusable_names_are_refused(tmp_path: Path, folder: Path, members, expected) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "a.tar.gz").write_bytes(packed(*members))
    with pytest.raises(ArtifactError, match=expected):
        unpack_archive(tmp_path / "a.tar.gz", folder)


def test_a_sparse_file_is_refused(tmp_path: Path, folder: Path) -> None:
    sparse = tarfile.TarInfo("a/x")
    sparse.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.size": str(1 << 50)}
    (tmp_path / "a.tar.gz").write_bytes(packed((sparse, b"1\n0\n1\n" + bytes(600))))
    with pytest.raises(ArtifactError):
        unpack_archive(tmp_path / "a.tar.gz", folder)
    assert not any(file.is_file() for file in folder.rglob("*"))


def test_sizes_that_lead_backwards_do_not_loop(tmp_path: Path, folder: Path) -> None:
    header = bytearray(tarfile.TarInfo("a/x").tobuf())
    header[124:136] = b"\xff" * 10 + (-1024 & 0xFFFF).to_bytes(2, "big")  # base 256, negative
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + 8 * 32 + sum(header[156:512]))
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(bytes(header) * 4))
    with pytest.raises(ArtifactError):
        unpack_archive(tmp_path / "a.tar.gz", folder)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_an_archive_that_is_no_file_is_refused(tmp_path: Path, folder: Path, make) -> None:  # type: ignore[no-untyped-def]
    make(tmp_path / "a.tar.gz")
    with pytest.raises(ArtifactError, match="is not a file"):
        unpack_archive(tmp_path / "a.tar.gz", folder)


@settings(max_examples=200, deadline=None)
@given(
    damage=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=4),
    cut=st.integers(0, 4000),
)
def test_damage_below_the_compression_raises_no_other_error(
    damage: list[tuple[int, int]], cut: int
) -> None:
    """Headers of tar with arbitrary bytes, in an archive whose checksum is right."""
    tar = bytearray(gzip.decompress(packed(member("a/x", b"1"), member("a/ä", b"2" * 600))))
    for place, value in damage:
        tar[place] = value
    with tempfile.TemporaryDirectory() as temporary:
        archive, folder = Path(temporary, "a.tar.gz"), Path(temporary, "unpacked")
        archive.write_bytes(gzip.compress(bytes(tar[:cut])))
        try:
            names = unpack_archive(archive, folder)
        except ArtifactError as error:
            assert str(error).startswith(f"{archive}: ") and "\n" not in str(error)
        else:
            assert all((folder / name).is_file() for name in names)
        assert {path.name for path in Path(temporary).iterdir()} <= {"a.tar.gz", "unpacked"}
