"""Manages files and processes on a device. Standard library only, Python 3.9 or newer.

Its source is sent as the argument of ``python -c``, so it does not have to be installed.
"""

from __future__ import annotations

import errno
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

# Marks the start of the output, after any output of login scripts.
BEGIN = b"-- finch --\n"
# Precedes the exit code of a process in the last line of stderr.
EXIT_CODE = "finch: exit code "
# Precedes an error of this program.
FAILED = "finch: failed: "

_TIMED_OUT = 124  # as of the command `timeout`

STORE = "finch-measure"
# Follows the architecture in a description.
NARROW = ", 32-bit Python"
CPUS = Path("/sys/devices/system/cpu")

# Instruction sets that determine the speed of inference kernels, in the spelling of Linux.
_FLAGS = (
    "avx avx2 fma f16c avx512f avx512bw avx512_vnni avx512_bf16 avx512_fp16 avx_vnni avx_vnni_int8 "
    "amx_tile amx_int8 amx_bf16 neon asimd asimdhp asimddp i8mm bf16 sve sve2 sme"
)
VECTOR_FLAGS = frozenset(_FLAGS.split())

# Variables of a shell or a stage that would change how a model runs.
_REMOVED = ("PYTHON", "OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "TBB_", "ORT_", "OV_")
_THREAD_COUNTS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def environment(variables: Mapping[str, str], package: str, threads: int) -> dict[str, str]:
    """Environment of a process of the device runtime, whose folder is ``package``."""
    kept = {key: value for key, value in variables.items() if not key.startswith(_REMOVED)}
    return {
        **kept,
        # Import the package from this folder only, and write no bytecode to it.
        "PYTHONPATH": package,
        "PYTHONSAFEPATH": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUTF8": "1",
        **dict.fromkeys(_THREAD_COUNTS, str(threads)),
    }


def content_key(folder: Path, names: Iterable[str]) -> str:
    """SHA-256 of the names and contents of files, as 64 hex digits."""
    total = hashlib.sha256()
    for name in sorted(names):
        content = hashlib.sha256()
        with (folder / name).open("rb") as file:
            while chunk := file.read(1 << 20):
                content.update(chunk)
        total.update(f"{name}\0{content.hexdigest()}\n".encode())
    return total.hexdigest()


def describe(packages: Iterable[str]) -> dict[str, Any]:
    """The attributes of ``pipeline.measure.host.Host``; ``packages`` are names on PyPI."""
    try:
        cpu, flags = read_cpuinfo(Path("/proc/cpuinfo").read_text("utf-8", errors="replace"))
    except OSError:
        cpu, flags = "unknown", frozenset()
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # AttributeError on Windows
        memory = 0
    versions = {}
    for name in packages:
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    release = ".".join(platform.release().split(".")[:2])
    # A 32-bit system may have a 64-bit kernel, whose architecture `platform` returns.
    width = "" if sys.maxsize > 2**32 else NARROW
    return {
        "cpu": cpu,
        "architecture": platform.machine() + width,
        "flags": sorted(VECTOR_FLAGS & flags),
        "physical_cores": len(_read_all("topology/thread_siblings_list")) or None,
        "logical_cores": os.cpu_count() or 1,
        "affinity": _as_ranges(os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ()),
        "memory_gib": round(memory / 2**30),
        "system": f"{platform.system()} {release}",
        "python": platform.python_version(),
        "packages": versions,
        "governor": " + ".join(sorted(_read_all("cpufreq/scaling_governor"))),
    }


def read_cpuinfo(text: str) -> tuple[str, frozenset[str]]:
    """Model name and flags in the text of Linux's ``/proc/cpuinfo``.

    Arm kernels report no model name. It is replaced by the name of the board, if available, or by
    the implementer and part numbers of all core types.
    """
    fields: dict[str, list[str]] = {}
    for key, value in re.findall(r"^([^\t:]+?)\s*:[ \t]*(.*)$", text, re.MULTILINE):
        fields.setdefault(key, []).append(value.strip())
    cores = zip(fields.get("CPU implementer", []), fields.get("CPU part", []))  # noqa: B905
    names = [fields[key][0] for key in ("model name", "Model", "Hardware") if key in fields]
    names.append(" + ".join(sorted({f"{maker}/{part}" for maker, part in cores})))
    lists = fields.get("flags", []) + fields.get("Features", [])
    # Only flags of all cores count: a thread may run on any core.
    flags = frozenset.intersection(*(frozenset(line.split()) for line in lists or [""]))
    return names[0] or "unknown", flags


def _as_ranges(numbers: Iterable[int]) -> str:
    """Formats numbers as ``0-3,8``."""
    ranges: list[list[int]] = []
    for number in sorted(numbers):
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ",".join(f"{a}-{b}" if b > a else f"{a}" for a, b in ranges)


def _read_all(name: str) -> set[str]:
    """Contents of a file of all cores in sysfs."""
    contents = set()
    for path in CPUS.glob(f"cpu[0-9]*/{name}"):
        with suppress(OSError):
            contents.add(path.read_text().strip())
    return contents


def open_store(folder: str) -> dict[str, Any]:
    """Creates the folder for all copied files, and lists those of earlier runs.

    It is below ``folder``; if that is empty, in the user's cache or, if that is not writable, among
    the temporary files.
    """
    if folder:
        store = _create_private(Path(folder).expanduser().absolute() / STORE)
    else:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
        try:
            store = _create_private(cache / STORE)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise
            store = _create_private(Path(tempfile.gettempdir(), f"{STORE}-{os.getuid()}"))
    return {"store": str(store), "present": sorted(path.name for path in store.iterdir())}


def _create_private(store: Path) -> Path:
    store.parent.mkdir(parents=True, exist_ok=True)
    store.mkdir(mode=0o700, exist_ok=True)
    # In a folder for temporary files, another user may have created it.
    found = store.lstat()
    if store.is_symlink() or found.st_uid != os.getuid() or not os.access(store, os.W_OK):
        raise PermissionError(errno.EACCES, "belongs to another user", str(store))
    return store


def receive(store: Path, key: str) -> None:
    """Unpacks a tar stream from stdin to ``store/key`` atomically."""
    partial = Path(tempfile.mkdtemp(dir=store, prefix=".partial."))
    try:
        names = []
        with tarfile.open(fileobj=sys.stdin.buffer, mode="r|") as archive:
            for member in archive:
                content = archive.extractfile(member)
                if content is None:
                    continue
                place = partial / member.name
                place.parent.mkdir(parents=True, exist_ok=True)
                with place.open("wb") as file:
                    shutil.copyfileobj(content, file, 1 << 20)
                names.append(member.name)
        if content_key(partial, names) != key:
            raise OSError(errno.EIO, "damaged in transfer", str(partial))
        partial.replace(store / key)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def run(package: str, threads: int, python: str, request: str, limit_s: float) -> int:
    """Runs the device runtime in new processes, and returns the exit code.

    The processes are killed when stdin ends, since then the connection is lost or the stage was
    killed, and after ``limit_s`` seconds.
    """
    if os.sep in python:
        python = str(Path(python).expanduser().absolute())
    process = subprocess.Popen(
        [python, "-m", "finch_runtime", "measure"],
        stdin=subprocess.PIPE,
        env=environment(os.environ, package, threads),
        # Python before 3.11 has no PYTHONSAFEPATH and searches the current folder first.
        cwd=package,
        start_new_session=True,  # a group, which can be killed together
    )

    def kill_when_disconnected() -> None:
        while os.read(0, 1):
            pass
        _kill(process)

    threading.Thread(target=kill_when_disconnected, daemon=True).start()
    try:
        process.communicate(request.encode(), limit_s)  # does not fail if the process exits early
    except subprocess.TimeoutExpired:
        _kill(process)
        process.wait()
        reason = f"did not finish within {limit_s / 60:g} minutes, and was ended"
        print(f"finch_runtime: {reason}", file=sys.stderr, flush=True)
        return _TIMED_OUT
    return process.returncode


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kills a process and those that it has started."""
    if process.poll() is None:
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:  # Windows
            process.kill()


def main(words: Sequence[str]) -> None:
    """Executes one command and writes its result to stdout."""
    sys.stdout.buffer.write(BEGIN)
    sys.stdout.flush()
    command, *rest = words
    try:
        if command == "describe":
            print(json.dumps(describe(rest)))
        elif command == "open":
            print(json.dumps(open_store(rest[0])))
        elif command == "receive":
            receive(Path(rest[0]), rest[1])
        elif command == "run":
            code = run(rest[0], int(rest[1]), rest[2], rest[3], float(rest[4]))
            print(f"\n{EXIT_CODE}{code}", file=sys.stderr)
        elif command == "fetch":
            sys.stdout.buffer.write(Path(rest[0]).read_bytes())
            Path(rest[0]).unlink()
        elif command == "clear":
            shutil.rmtree(rest[0])
    except (OSError, tarfile.TarError) as error:
        number = errno.errorcode.get(getattr(error, "errno", None) or 0, "")
        print(f"{FAILED}{number} {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
