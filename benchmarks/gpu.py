"""Proves and measures training on a GPU with one command.

    python benchmarks/gpu.py --out FOLDER [--minutes 8] [--parts NAME …] [--device cpu --tiny]

It needs neither data nor a network: images are drawn, weights are random. `FOLDER` gets `gpu.md`, a
table with every result and every target, `gpu.json` with the same figures, and a log per part. Each
part has a time limit of its own. A part that fails or is ended by its limit does not stop the
others, and what it has found before is kept. The exit status is 0 if all parts are done and all
targets are met.

`--device cpu --tiny` runs everything in miniature on a CPU, to test the command itself: figures of
such a run mean nothing. docs/gpu.md explains the table.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import cpuinfo
import torch
from gpu_parts.finding import append_finding
from gpu_parts.running import Outcome, run_parts
from gpu_parts.settings import Settings
from gpu_parts.table import as_markdown

from pipeline.files import atomic_file, write_json


class Part(NamedTuple):
    """A module of ``gpu_parts`` with a function ``find``.

    Attributes:
        title: Name in the table.
        share: Share of the minutes, relative to the other parts.
    """

    title: str
    share: float


PARTS = {
    "gpu_tests": Part("tests", 60),
    "agreement": Part("CPU and GPU", 80),
    "throughput": Part("throughput", 120),
    "step_profile": Part("step", 120),
    "interruption": Part("interruption", 60),
    "comparison": Part("compare", 40),
}


def describe_machine(options: argparse.Namespace) -> dict[str, str]:
    """Hardware, versions and options of the run."""
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        gpus = subprocess.run(query, capture_output=True, text=True, check=True).stdout.split("\n")
    except (OSError, subprocess.CalledProcessError):
        gpus = []
    processor = cpuinfo.get_cpu_info().get("brand_raw", platform.machine())
    tf32 = {
        "convolutions": torch.backends.cudnn.allow_tf32,
        "matrix products": torch.backends.cuda.matmul.allow_tf32,
    }
    return {
        "GPU": "; ".join(filter(None, gpus)) or "none",
        "CPU": f"{processor}, {os.cpu_count()} logical cores",
        "versions": f"Python {platform.python_version()}, torch {torch.__version__}, CUDA "
        f"{torch.version.cuda}, timm {version('timm')}, torchvision {version('torchvision')}",
        "TF32 in fp32": ", ".join(f"{name} {'on' if on else 'off'}" for name, on in tf32.items()),
        "options": f"device {options.device}, {options.minutes:g} minutes"
        + (", tiny: the figures mean nothing" if options.tiny else ""),
    }


def run_all(options: argparse.Namespace) -> bool:
    """Runs the chosen parts; returns whether all of them are good."""
    options.out.mkdir(parents=True, exist_ok=True)
    facts, folder = describe_machine(options), options.out.resolve()
    titles = {name: part.title for name, part in PARTS.items()}

    def command(part: str) -> Sequence[str]:
        tiny = ["--tiny"] if options.tiny else []
        same = ["--out", str(folder), "--device", options.device, *tiny]
        return [sys.executable, __file__, *same, "--run", part]

    def write(outcomes: list[Outcome]) -> None:
        parts = [asdict(outcome) | {"good": outcome.good} for outcome in outcomes]
        write_json(folder / "gpu.json", {"machine": facts, "parts": parts})
        with atomic_file(folder / "gpu.md") as temporary:
            temporary.write_text(as_markdown(titles, outcomes, facts), encoding="utf-8")
        last = outcomes[-1]
        print(f"{titles[last.part]}: {last.status}, {last.seconds:.0f} s", flush=True)

    shares = {name: PARTS[name].share for name in options.parts or PARTS}
    outcomes = run_parts(shares, 60 * options.minutes, folder, command, write)
    print((folder / "gpu.md").read_text(encoding="utf-8"))
    return all(outcome.good for outcome in outcomes)


def run_one(options: argparse.Namespace) -> None:
    """Runs one part in this process, and writes its findings one by one."""
    settings = Settings(options.out, options.device, options.tiny)
    if options.tiny:
        torch.set_num_threads(1)
    module = importlib.import_module(f"gpu_parts.{options.run}")
    for found in module.find(settings):
        print(found, flush=True)
        append_finding(options.out / f"{options.run}.jsonl", found)


def main() -> None:
    """Runs all parts, or one of them in this process."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--minutes", type=float, default=8, help="time limit of all parts together")
    parser.add_argument("--parts", nargs="+", choices=PARTS, help="default: all of them")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--tiny", action="store_true", help="in miniature, to test the command")
    parser.add_argument("--run", choices=PARTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: torch finds no GPU; to try the command: --device cpu --tiny")
    if options.device == "cpu" and not options.tiny:
        parser.error("--device cpu needs --tiny: the figures are those of a GPU")
    if options.run:
        run_one(options)
    else:
        sys.exit(not run_all(options))


if __name__ == "__main__":
    main()
