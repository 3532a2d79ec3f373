"""Disables the telemetry of both inference runtimes."""

from __future__ import annotations

import os
import sys


def turn_off() -> None:
    """Keeps ONNX Runtime and OpenVINO from recording or sending anything; call before importing.

    ONNX Runtime (1.29 and later, except on Windows) decides at import whether to write a device id
    and an event queue to the user's cache folder. OpenVINO's Python package sends an event at
    import through the package ``openvino_telemetry``, and skips it if that cannot be imported.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
