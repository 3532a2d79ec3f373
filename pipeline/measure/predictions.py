"""A model's logits, as the device runtime computes them."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import MeasurementError
from pipeline.measure.devices.device import Device
from pipeline.measure.runtime import THIS_MACHINE, MeasuredModel, UnpackedBundle, run_model


def measure_logits(
    model: MeasuredModel,
    images_path: Path,
    *,
    threads: int,
    runtime_folder: Path,
    device: Device = THIS_MACHINE,
) -> NDArray[np.float32]:
    """Runs a model over packed images, in a process of its own.

    Args:
        model: What to run.
        images_path: ``.npy`` file, uint8 [n, height, width, 3], RGB.
        threads: Threads of the inference runtime.
        runtime_folder: Folder that holds the package ``finch_runtime``.
        device: Where.

    Returns:
        Logits, float32 [n, classes].

    Raises:
        MeasurementError: The model could not be run, or its logits are not finite.
        DeviceError: The device failed.
    """
    return _run(model, images_path, threads, runtime_folder, device)


def measure_bundle_logits(folder: Path, images_path: Path, *, threads: int) -> NDArray[np.float32]:
    """Runs the model of an unpacked bundle by the runtime that is in the bundle, as ``measure_logits``."""
    return _run(UnpackedBundle(folder), images_path, threads, folder, THIS_MACHINE)


def _run(
    model: MeasuredModel | UnpackedBundle,
    images_path: Path,
    threads: int,
    runtime_folder: Path,
    device: Device,
) -> NDArray[np.float32]:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "logits.npy"
        run_model(
            "predict",
            model,
            images_path,
            [],
            threads=threads,
            runtime_folder=runtime_folder,
            device=device,
            out=out,
        )
        try:
            logits: NDArray[np.float32] = np.load(out, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise MeasurementError(model.path, f"gave no readable logits ({error})") from None
    broken = int(np.sum(~np.isfinite(logits).all(axis=-1)))
    if broken:
        raise MeasurementError(
            model.path, f"its logits of {broken} of {len(logits)} images are not finite"
        )
    return logits
