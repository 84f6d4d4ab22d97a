"""Checks whether CUDA can be used; if not, reports what is missing and how to install it.

ONNX Runtime reports a missing library in several lines on standard error, and then runs on the CPU.
Therefore this module loads the libraries first; ONNX Runtime is called only if all of them exist.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import io
import re
from pathlib import Path

import onnxruntime as ort

CUDA = "CUDAExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"
CPU = "CPUExecutionProvider"

DRIVER = "libcuda.so.1"
TENSORRT_LIBRARY = "libnvinfer.so.10"
INSTALL = "pip install 'semserve-server[gpu]'"
"""The command that installs ONNX Runtime for GPUs with the libraries of CUDA and cuDNN."""
_MISSING = re.compile(r"([\w.+-]+): cannot open shared object file")


@functools.cache
def cuda_problem() -> str:
    """Return why CUDA cannot be used in this process, and what to do; empty if it can be used.

    The first call loads the libraries, from the packages of NVIDIA beside ONNX Runtime or from the
    library path.
    """
    if CUDA not in ort.get_available_providers():
        return (
            f"this onnxruntime {ort.__version__} has no CUDA: run `pip uninstall onnxruntime` and "
            f"`{INSTALL}`"
        )
    # It prints each library that it cannot load.
    with contextlib.redirect_stdout(io.StringIO()):
        ort.preload_dlls()
    if _load(DRIVER):
        return (
            f"{DRIVER} is missing: install the NVIDIA driver, or start the container with "
            "`--gpus all`"
        )
    capi = Path(ort.__file__).parent / "capi"
    # The provider's symbols are in the shared one, which ONNX Runtime loads like this too.
    for name in ("libonnxruntime_providers_shared.so", "libonnxruntime_providers_cuda.so"):
        if problem := _load(str(capi / name), mode=ctypes.RTLD_GLOBAL):
            found = _MISSING.search(problem)
            missing = f"{found[1]} is missing" if found else f"{name} cannot be loaded: {problem}"
            return f"{missing}: run `{INSTALL}`"
    return "" if gpu_count() else "the driver reports no GPU: check `nvidia-smi`"


@functools.cache
def tensorrt_problem() -> str:
    """Return why TensorRT cannot be used in this process; empty if it can be used."""
    if problem := cuda_problem():
        return problem
    if TENSORRT not in ort.get_available_providers():
        return "this onnxruntime has no TensorRT: start with --device cuda"
    if _load(TENSORRT_LIBRARY):
        return (
            f"{TENSORRT_LIBRARY} is missing: run `pip install tensorrt-cu13`, or start with "
            "--device cuda"
        )
    return ""


@functools.cache
def gpu_count() -> int:
    """Return the number of GPUs that the driver reports; 0 if it reports an error."""
    try:
        driver = ctypes.CDLL(DRIVER)
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return 0
    return count.value


def _load(name: str, *, mode: int = ctypes.DEFAULT_MODE) -> str:
    """Load a shared library for the life of the process. Return the error, or nothing."""
    try:
        ctypes.CDLL(name, mode=mode)
    except OSError as error:
        return str(error)
    return ""
