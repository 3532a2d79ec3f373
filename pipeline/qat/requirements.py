"""What fake quantisation needs besides Finch's own requirements."""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil

from finch_runtime.telemetry import turn_off

from pipeline.errors import QATError
from pipeline.quiet import quiet

_OFF = "set qat.epochs to 0 and take no candidate with method qat"
# NNCF gives up after a minute, which a busy machine takes to compile its kernels.
_TIMEOUT, _SECONDS = "NNCF_EXTENSION_LOAD_TIMEOUT", "900"

log = logging.getLogger(__name__)


def check_requirements() -> None:
    """Looks for all that recovery needs; takes no time.

    Raises:
        QATError: The extra is not installed, or there is no C++ compiler.
    """
    if importlib.util.find_spec("torchao") is None:
        raise QATError(
            "qat.epochs",
            "recovery needs torchao, which is not installed",
            f"pip install 'finch-edge[qat]', or {_OFF}",
        )
    compiler = os.environ.get("CXX", "c++")  # what torch takes
    if shutil.which(compiler) is None:
        raise QATError(
            "qat.epochs",
            f"recovery compiles NNCF's kernels once, and there is no C++ compiler ({compiler})",
            f"on Debian: apt-get install g++ python3-dev; or {_OFF}",
        )


def compile_kernels() -> None:
    """Compiles NNCF's fake quantisation for the CPU; once a machine, a minute or two.

    Where they cannot be compiled in spite of a compiler, NNCF computes the same with torch alone,
    and the log says why.

    Raises:
        QATError: It takes too long, as it does when an earlier process was killed at it.
    """
    os.environ.setdefault(_TIMEOUT, _SECONDS)
    turn_off()
    with quiet(log):
        from nncf.torch.extensions import ExtensionLoaderTimeoutException
        from nncf.torch.quantization.extensions import (
            QuantizedFunctionsCPU,
            QuantizedFunctionsCPULoader,
        )

        try:
            QuantizedFunctionsCPU.get("Quantize_forward")
        except ExtensionLoaderTimeoutException:
            raise QATError(
                "NNCF's kernels",
                f"were not compiled within {os.environ[_TIMEOUT]} seconds; a process that was "
                "killed at it leaves a lock",
                f"delete {QuantizedFunctionsCPULoader.get_build_dir()} and run it again",
            ) from None
