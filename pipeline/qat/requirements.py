"""Requirements of QAT: the extra ``qat``, a C++ compiler, and NNCF's compiled kernels."""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil

from finch_runtime.telemetry import turn_off

from pipeline.errors import QATError
from pipeline.quiet import quiet

_DISABLE = "set qat.epochs to 0 and remove the candidates with method qat"
# NNCF's default of one minute is too short for compiling its kernels on a busy machine.
_TIMEOUT, _SECONDS = "NNCF_EXTENSION_LOAD_TIMEOUT", "900"

log = logging.getLogger(__name__)


def check_requirements() -> None:
    """Checks for the extra and the compiler, without importing NNCF.

    Raises:
        QATError: The extra is not installed, or there is no C++ compiler.
    """
    if importlib.util.find_spec("torchao") is None:
        remedy = f"pip install 'finch-edge[qat]', or {_DISABLE}"
        raise QATError("qat.epochs", "QAT needs torchao, which is not installed", remedy)
    compiler = os.environ.get("CXX", "c++")  # like torch.utils.cpp_extension
    if shutil.which(compiler) is None:
        problem = f"QAT compiles NNCF's kernels, but there is no C++ compiler ({compiler})"
        remedy = f"on Debian: apt-get install g++ python3-dev; or {_DISABLE}"
        raise QATError("qat.epochs", problem, remedy)


def compile_kernels() -> None:
    """Compiles NNCF's CPU kernels; takes one or two minutes, once per machine.

    If compilation fails, NNCF uses PyTorch operators instead, and the reason is logged.

    Raises:
        QATError: The timeout expired, for example because a killed process has left its lock file.
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
            folder, seconds = QuantizedFunctionsCPULoader.get_build_dir(), os.environ[_TIMEOUT]
            problem = f"did not compile within {seconds} seconds (lock file of a killed process?)"
            remedy = f"delete {folder}, then run it again"
            raise QATError("NNCF's kernels", problem, remedy) from None
