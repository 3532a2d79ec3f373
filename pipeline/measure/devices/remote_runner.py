"""What runs on a device beside the device runtime: the standard library alone, Python 3.9 or newer.

It gets there as the text of ``python -c``, so nothing has to be installed for it.
"""

from __future__ import annotations

import errno
import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

# Stands before every answer: what a login script prints comes before it.
BEGIN = b"-- finch --\n"
# Stands before the code that a process ended with, as the last line of stderr.
ENDED = "finch: ended with "
# Stands before what this program itself could not do.
FAILED = "finch: failed: "

STORE = "finch-measure"

# Settings of a shell or a stage that would change how a model runs, unseen.
_FOREIGN = ("PYTHON", "OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "TBB_", "ORT_", "OV_")
_THREAD_COUNTS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def environment(around: Mapping[str, str], package: str, threads: int) -> dict[str, str]:
    """The environment of a process of the device runtime.

    Args:
        around: The environment that there is.
        package: The folder that holds the package ``finch_runtime``.
        threads: Threads of the inference runtime.
    """
    kept = {key: value for key, value in around.items() if not key.startswith(_FOREIGN)}
    return {
        **kept,
        # The package comes from this folder alone, not from the current one, and stays clean.
        "PYTHONPATH": package,
        "PYTHONSAFEPATH": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUTF8": "1",
        **dict.fromkeys(_THREAD_COUNTS, str(threads)),
    }


def content_key(folder: Path, names: Iterable[str]) -> str:
    """SHA-256 over the names and the contents of files, as 64 hex digits."""
    total = hashlib.sha256()
    for name in sorted(names):
        content = hashlib.sha256()
        with (folder / name).open("rb") as file:
            while chunk := file.read(1 << 20):
                content.update(chunk)
        total.update(f"{name}\0{content.hexdigest()}\n".encode())
    return total.hexdigest()


def describe() -> dict[str, Any]:
    """Stable facts of this machine, as JSON values; None is what the system does not tell."""
    try:
        cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        cpuinfo = ""
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        memory = 0
    affinity = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    versions = {}
    for name in ("numpy", "onnxruntime", "openvino"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "cpuinfo": cpuinfo,
        "architecture": platform.machine(),
        "physical_cores": _physical_cores(),
        "logical_cores": os.cpu_count() or 1,
        "affinity": affinity,
        "memory_bytes": memory,
        "system": platform.system(),
        "release": platform.release(),
        "python": platform.python_version(),
        "versions": versions,
        "governor": " + ".join(sorted(_governors())),
    }


def _governors() -> set[str]:
    names = set()
    for path in Path("/sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_governor"):
        try:
            names.add(path.read_text().strip())
        except OSError:
            continue
    return names


def _physical_cores() -> int | None:
    cores = set()
    for topology in Path("/sys/devices/system/cpu").glob("cpu[0-9]*/topology"):
        try:
            cores.add((topology / "thread_siblings_list").read_text().strip())
        except OSError:
            continue
    return len(cores) or None


def open_store(folder: str) -> dict[str, Any]:
    """Makes the folder that everything goes to, and says what is there from before.

    Args:
        folder: In this one; empty: in the user's cache, or else among the temporary files.
    """
    home_cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    shared = Path(tempfile.gettempdir(), f"{STORE}-{os.getuid()}")
    if folder:
        store = _owned(Path(folder).expanduser().absolute() / STORE)
    else:
        try:
            store = _owned(home_cache / STORE)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise
            store = _owned(shared)
    return {"store": str(store), "present": sorted(path.name for path in store.iterdir())}


def _owned(store: Path) -> Path:
    store.parent.mkdir(parents=True, exist_ok=True)
    store.mkdir(mode=0o700, exist_ok=True)
    # Among the temporary files of all users somebody else could have been faster.
    found = store.lstat()
    if store.is_symlink() or found.st_uid != os.getuid() or not os.access(store, os.W_OK):
        raise PermissionError(errno.EACCES, "belongs to somebody else", str(store))
    return store


def receive(store: Path, key: str) -> None:
    """Unpacks the tar stream of the standard input to ``store/key``, whole or not at all."""
    arriving = Path(tempfile.mkdtemp(dir=store, prefix=".arriving."))
    try:
        names = []
        with tarfile.open(fileobj=sys.stdin.buffer, mode="r|") as archive:
            for member in archive:
                content = archive.extractfile(member)
                if content is None:
                    continue
                place = arriving / member.name
                place.parent.mkdir(parents=True, exist_ok=True)
                with place.open("wb") as file:
                    shutil.copyfileobj(content, file, 1 << 20)
                names.append(member.name)
        if content_key(arriving, names) != key:
            raise OSError(errno.EIO, "arrived damaged", str(arriving))
        arriving.replace(store / key)
    finally:
        shutil.rmtree(arriving, ignore_errors=True)


def run(package: str, threads: int, python: str, arguments: Sequence[str]) -> int:
    """Runs the device runtime in a new process; it ends when the connection does."""
    if os.sep in python:
        python = str(Path(python).expanduser().absolute())
    process = subprocess.Popen(
        [python, "-m", "finch_runtime", *arguments],
        stdin=subprocess.DEVNULL,
        env=environment(os.environ, package, threads),
        # Python before 3.11 knows no safe path and looks into the current folder first.
        cwd=package,
    )

    def end_with_the_connection() -> None:
        while os.read(0, 1):
            pass
        process.send_signal(signal.SIGKILL)

    threading.Thread(target=end_with_the_connection, daemon=True).start()
    return process.wait()


def main(words: Sequence[str]) -> None:
    """Does one thing and writes its answer to the standard output."""
    sys.stdout.buffer.write(BEGIN)
    sys.stdout.flush()
    command, *rest = words
    try:
        if command == "describe":
            print(json.dumps(describe()))
        elif command == "open":
            print(json.dumps(open_store(rest[0])))
        elif command == "receive":
            receive(Path(rest[0]), rest[1])
        elif command == "run":
            code = run(rest[0], int(rest[1]), rest[2], rest[3:])
            print(f"\n{ENDED}{code}", file=sys.stderr)
        elif command == "bring":
            with Path(rest[0]).open("rb") as file:
                shutil.copyfileobj(file, sys.stdout.buffer)
            Path(rest[0]).unlink()
        elif command == "clear":
            shutil.rmtree(rest[0])
    except (OSError, tarfile.TarError) as error:
        number = errno.errorcode.get(getattr(error, "errno", None) or 0, "")
        print(f"{FAILED}{number} {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
