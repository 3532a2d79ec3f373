"""Whether this machine has what the stages need: packages, tools, hardware, disk and devices."""

from __future__ import annotations

import configparser
import importlib
import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from pipeline.errors import DeviceError, QATError, one_line
from pipeline.measure.devices.remote import open_device
from pipeline.measure.host import Host, describe_host
from pipeline.params import ListedDevice, Params
from pipeline.qat.requirements import check_requirements
from pipeline.storage import format_bytes

State = Literal["ok", "note", "missing"]

# Checkpoints, ONNX files and packed images of a run with small images; below, writing may fail.
_FREE_BYTES = 5_000_000_000
_INT8_FLAGS = {"avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"}
_BF16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}
_TRAINING = ("finetune", "cache-logits", "distill")
_MEASURING = ("quantize", "evaluate", "verify")


@dataclass(frozen=True)
class Check:
    """One thing that stages need or use.

    Attributes:
        name: The thing, such as ``torch``.
        state: ``missing``: a stage of these parameters fails without it; ``note``: worth knowing.
        found: Version or description of what there is, or what is wrong with it.
        needed_by: Stages that need it; empty if it concerns all of them.
        remedy: How to get it; empty if nothing must be done.
    """

    name: str
    state: State
    found: str
    needed_by: tuple[str, ...] = ()
    remedy: str = ""


def examine(params: Params | None, folder: Path) -> Iterator[Check]:
    """Checks this machine for the stages, one thing after the other; takes seconds.

    Args:
        params: Parameters, which decide what is needed; None if there are none yet.
        folder: Where the pipeline runs.
    """
    yield Check("Python", "ok", f"{platform.python_version()} on {platform.platform(terse=True)}")
    yield from _packages(params)
    yield _accelerator()
    host = describe_host()
    yield _cpu(host)
    yield Check("memory", "ok" if host.memory_gib >= 4 else "note", f"{host.memory_gib} GiB")
    yield _disk(folder)
    yield from _version_control(folder)
    devices = params.evaluate.devices if params else []
    yield from (_device(device) for device in devices if device.host is not None)


def _packages(params: Params | None) -> Iterator[Check]:
    candidates = params.quantize.candidates if params else []
    yield _package("torch", _TRAINING, _torch_version)
    yield _package("timm", _TRAINING)
    yield _package("onnx", ("export", "quantize"))
    yield _package("onnxruntime", _MEASURING)
    # Without parameters, all runtimes count as needed.
    if params is None or any(candidate.runtime == "openvino" for candidate in candidates):
        yield _package("openvino", _MEASURING)
        yield _package("nncf", ("quantize",))
    yield _package("dvc", ("dvc repro",))
    if params is not None and params.qat.epochs:
        yield _qat()
    if _version("pillow-heif") is None:
        found, remedy = "no package for HEIC photographs", "pip install 'finch-edge[heif]'"
        yield Check("pillow-heif", "note", found, ("prepare",), remedy)
    else:
        yield _package("pillow-heif", ("prepare",))


def _package(
    name: str, needed_by: tuple[str, ...], version: Callable[[str], str | None] | None = None
) -> Check:
    try:
        found = (version or _version)(name)
    except Exception as error:  # a library of the system may be missing, or another build
        remedy = f"pip install --force-reinstall {name}"
        return Check(name, "missing", f"cannot be imported: {one_line(error)}", needed_by, remedy)
    if found is None:
        return Check(name, "missing", "is not installed", needed_by, f"pip install {name}")
    return Check(name, "ok", found, needed_by)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _torch_version(name: str) -> str | None:
    installed = _version(name)
    return installed and str(importlib.import_module(name).__version__)


def _qat() -> Check:
    try:
        check_requirements()
    except QATError as error:
        return Check("qat", "missing", error.problem, ("qat",), error.remedy)
    return Check("qat", "ok", "torchao and a C++ compiler", ("qat",))


def _accelerator() -> Check:
    try:
        import torch
    except Exception:  # `torch` has its own check
        return Check("accelerator", "note", "unknown without torch")
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        memory = f"{properties.total_memory / 2**30:.0f} GiB"
        bf16 = "bf16" if torch.cuda.is_bf16_supported() else "no bf16"
        found = f"CUDA {torch.version.cuda}: {properties.name}, {memory}, {bf16}"
        return Check("accelerator", "ok", found, _TRAINING)
    if torch.backends.mps.is_available():
        return Check("accelerator", "ok", "MPS", _TRAINING)
    build = f"torch is built for CUDA {torch.version.cuda}" if torch.version.cuda else "CPU build"
    return Check("accelerator", "note", f"none ({build}); training runs on the CPU", _TRAINING)


def _cpu(host: Host) -> Check:
    flags = set(host.flags)
    int8, bf16 = ", ".join(sorted(_INT8_FLAGS & flags)), ", ".join(sorted(_BF16_FLAGS & flags))
    found = (
        f"{host.cpu}, {host.logical_cores} cores; "
        f"{f'int8 instructions: {int8}' if int8 else 'no int8 instructions (VNNI)'}; "
        f"{f'bf16: {bf16}' if bf16 else 'no bf16'}"
    )
    if int8:
        return Check("CPU", "ok", found, ("evaluate",))
    return Check("CPU", "note", f"{found}; int8 models may be no faster than fp32", ("evaluate",))


def _disk(folder: Path) -> Check:
    free = shutil.disk_usage(folder).free
    if free < _FREE_BYTES:
        found = f"{format_bytes(free)} free"
        return Check("disk", "missing", found, (), f"free {format_bytes(_FREE_BYTES)} in {folder}")
    return Check("disk", "ok", f"{format_bytes(free)} free")


def _version_control(folder: Path) -> Iterator[Check]:
    needed_by = ("dvc repro",)
    folders = (folder, *folder.absolute().parents)
    config = next((each / ".dvc/config" for each in folders if (each / ".dvc").is_dir()), None)
    settings = configparser.ConfigParser()
    settings.read(config or [])
    if settings.getboolean("core", "no_scm", fallback=False):
        yield Check("git", "ok", "is not used (core.no_scm)")
    elif shutil.which("git") is None:
        remedy = "on Debian: apt-get install git"
        yield Check("git", "missing", "is not installed", needed_by, remedy)
    elif _git(folder, "rev-parse", "--git-dir") is None:
        yield Check("git", "missing", f"{folder} is in no repository", needed_by, "git init")
    elif _git(folder, "rev-parse", "HEAD") is None:
        remedy = "git add . && git commit -m start"
        yield Check("git", "missing", "no commit yet", needed_by, remedy)
    else:
        yield Check("git", "ok", _git(folder, "version") or "", needed_by)
    if config is None:
        yield Check("DVC repository", "missing", "there is none here", needed_by, "dvc init")


def _git(folder: Path, *words: str) -> str | None:
    """The output of git; None if it fails."""
    command: Sequence[str] = ("git", "-C", os.fspath(folder), *words)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip().removeprefix("git version ") if done.returncode == 0 else None


def _device(device: ListedDevice) -> Check:
    name, stages = f"device {device.name}", ("probe", "evaluate")
    if shutil.which("ssh") is None:
        remedy = "on Debian: apt-get install openssh-client"
        return Check(name, "missing", "the command ssh is not installed", stages, remedy)
    try:
        with open_device(device) as opened:
            host = opened.describe()
    except DeviceError as error:
        return Check(name, "missing", error.problem, stages, error.remedy)
    packages = ", ".join(f"{package} {version}" for package, version in host.packages.items())
    return Check(name, "ok", f"{host.cpu}, Python {host.python}, {packages}", stages)
