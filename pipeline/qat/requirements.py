"""Requirements of NNCF's fake quantization: the extra ``qat`` and a C++ compiler."""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil

from finch_runtime.telemetry import turn_off

from pipeline.errors import QATError
from pipeline.quiet import quiet

_DISABLE = "set qat.epochs to 0 and remove the candidates with method qat"
# NNCF's default of a minute is too short to compile its kernels on a busy machine.
_TIMEOUT, _SECONDS = "NNCF_EXTENSION_LOAD_TIMEOUT", "900"

log = logging.getLogger(__name__)


def check_requirements() -> None:
    """Checks the requirements, in no time.

    Raises:
        QATError: The extra is not installed, or there is no C++ compiler.
    """
    if importlib.util.find_spec("torchao") is None:
        raise QATError(
            "qat.epochs",
            "QAT needs torchao, which is not installed",
            f"pip install 'finch-edge[qat]', or {_DISABLE}",
        )
    compiler = os.environ.get("CXX", "c++")  # as torch chooses it
    if shutil.which(compiler) is None:
        raise QATError(
            "qat.epochs",
            f"QAT compiles NNCF's kernels once, and there is no C++ compiler ({compiler})",
            f"on Debian: apt-get install g++ python3-dev; or {_DISABLE}",
        )


def compile_kernels() -> None:
    """Compiles NNCF's CPU kernels, once per machine, in a minute or two.

    If compilation fails, NNCF computes the same in plain torch, and the log contains the reason.

    Raises:
        QATError: The timeout expired, as it does when a killed process has left its lock.
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
                f"did not compile within {os.environ[_TIMEOUT]} seconds; a process killed during "
                "compilation leaves a lock",
                f"delete {QuantizedFunctionsCPULoader.get_build_dir()}, then run it again",
            ) from None
