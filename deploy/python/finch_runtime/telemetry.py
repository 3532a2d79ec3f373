"""Both inference runtimes report home unless they are told not to before their import."""

from __future__ import annotations

import os
import sys


def turn_off() -> None:
    """Keep ONNX Runtime and OpenVINO from recording or sending anything.

    To be called before either is imported: ONNX Runtime (1.29 and later, outside Windows) decides
    once, when it is loaded, whether to write a device id and a queue of events under the user's
    cache folder; OpenVINO's Python package sends an event on import through the package
    ``openvino_telemetry``, and does without it where that cannot be imported.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
