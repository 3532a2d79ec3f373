"""Time and memory of `prepare` on any number of photographs, drawn here.

    python benchmarks/packing.py --photographs 100000 --folder /tmp/drawn

Draws small JPEGs into a folder (kept, and used again, when one is named), runs `python -m
stages.prepare` on them in a folder of its own, and samples the anonymous memory (RssAnon: what
cannot be given back to the disk) of the stage and of its workers, summed, ten times a second.
`--source` packs another set instead, such as `grocery_store=/data/grocery_store`. Linux only.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import yaml
from PIL import Image

PROJECT = Path(__file__).resolve().parents[1]
CLASSES = 100


def main() -> None:
    """Prints one line a fact."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photographs", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, help="Where the drawn photographs are kept.")
    parser.add_argument("--source", help="NAME=PATH of a set to pack instead.")
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--workers", type=int, default=0)
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as scratch:
        if options.source:
            name, _, path = options.source.partition("=")
            split = "published"
        else:
            name, split = "folder", "blocks"
            path = str((options.folder or Path(scratch, "photographs")).resolve())
            draw_all(Path(path), options.photographs)
        params = yaml.safe_load((PROJECT / "params.yaml").read_text())
        params["prepare"] |= {
            "source": name,
            "path": path,
            "split": split,
            "block": 5,
            "image_size": options.size,
            "workers": options.workers,
        }
        work = Path(scratch, "work")
        work.mkdir()
        (work / "params.yaml").write_text(yaml.safe_dump(params))
        seconds, peak = run(work)
        packed = sorted((work / "data/prepared").glob("*/images.npy"))
        digest = hashlib.sha256()
        for file in packed:
            with file.open("rb") as opened:
                digest.update(hashlib.file_digest(opened, "sha256").digest())
        print(f"{platform.machine()}, {psutil.cpu_count()} logical cores, load {load()}")
        print(f"prepare, audit included: {seconds:.1f} s")
        print(f"peak of anonymous memory, all processes: {peak / 2**20:.0f} MiB")
        print(f"packed: {sum(file.stat().st_size for file in packed) / 2**20:.0f} MiB")
        print(f"audit.html: {(work / 'reports/audit.html').stat().st_size / 2**20:.2f} MiB")
        print(f"SHA-256 over the packed files: {digest.hexdigest()}")
        shutil.rmtree(work)


def run(folder: Path) -> tuple[float, int]:
    """Seconds that the stage takes, and the largest sum of anonymous memory in bytes."""
    started, peak = time.perf_counter(), 0
    command = [sys.executable, "-m", "stages.prepare"]
    # The stage reads params.yaml of the folder it is called in, but the project's own code.
    with subprocess.Popen(command, cwd=folder, env={"PYTHONPATH": str(PROJECT)}) as process:
        while process.poll() is None:
            with contextlib.suppress(psutil.NoSuchProcess):
                tree = [psutil.Process(process.pid)]
                tree += tree[0].children(recursive=True)
                peak = max(peak, sum(anonymous(member.pid) for member in tree))
            time.sleep(0.1)
    if process.returncode:
        raise SystemExit(process.returncode)
    return time.perf_counter() - started, peak


def anonymous(pid: int) -> int:
    """RssAnon of a process in bytes; 0 when it has just ended."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    line = next((line for line in text.splitlines() if line.startswith("RssAnon")), "RssAnon: 0 kB")
    return int(line.split()[1]) << 10


def load() -> str:
    """What else the machine is doing."""
    return ", ".join(f"{value:.1f}" for value in psutil.getloadavg())


def draw_all(folder: Path, count: int) -> None:
    """Draws what is not there yet."""
    with ProcessPoolExecutor() as pool:
        jobs = [(folder, s, min(s + 1000, count)) for s in range(0, count, 1000)]
        for _ in pool.map(draw_some, *zip(*jobs, strict=True)):
            pass


def draw_some(folder: Path, start: int, stop: int) -> None:
    """Smooth random colours, no two photographs alike."""
    for number in range(start, stop):
        path = folder / f"class{number % CLASSES:03}" / f"{number:07}.jpg"
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(number)
        coarse = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8))
        coarse.resize((128, 96), Image.Resampling.BICUBIC).save(path, quality=80)


if __name__ == "__main__":
    main()
