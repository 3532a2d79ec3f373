"""Time and memory of `prepare` on synthetic images.

    python benchmarks/packing.py --images 100000 --folder /tmp/images

Writes small JPEGs to a folder (kept and reused with `--folder`), runs `python -m stages.prepare` on
them in a temporary folder, and samples the anonymous memory (RssAnon) of the stage and its workers
ten times per second. `--source` packs another data set, such as
`grocery_store=/data/grocery_store`. Linux only.
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
    """Prints one line per result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, help="Folder of the synthetic images.")
    parser.add_argument("--source", help="NAME=PATH of another data source.")
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--workers", type=int, default=0)
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as scratch:
        if options.source:
            name, _, path = options.source.partition("=")
            split = "published"
        else:
            name, split = "folder", "blocks"
            path = str((options.folder or Path(scratch, "images")).resolve())
            write_all(Path(path), options.images)
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
    """Duration of the stage in seconds, and its peak anonymous memory in bytes."""
    started, peak = time.perf_counter(), 0
    command = [sys.executable, "-m", "stages.prepare"]
    # The stage reads params.yaml of its working directory, and runs the code of this project.
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
    """RssAnon of a process in bytes; 0 if it has ended."""
    try:
        text = Path(f"/proc/{pid}/status").read_text("utf-8")
    except OSError:
        return 0
    line = next((line for line in text.splitlines() if line.startswith("RssAnon")), "RssAnon: 0 kB")
    return int(line.split()[1]) << 10


def load() -> str:
    """Load averages."""
    return ", ".join(f"{value:.1f}" for value in psutil.getloadavg())


def write_all(folder: Path, count: int) -> None:
    """Writes the missing images, in parallel."""
    with ProcessPoolExecutor() as pool:
        jobs = [(folder, s, min(s + 1000, count)) for s in range(0, count, 1000)]
        for _ in pool.map(write_some, *zip(*jobs, strict=True)):
            pass


def write_some(folder: Path, start: int, stop: int) -> None:
    """Writes images of smooth random colors."""
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
