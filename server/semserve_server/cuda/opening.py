"""Chooses the device, and the providers with their options, and opens sessions on GPUs."""

from __future__ import annotations

import ctypes
import logging
from dataclasses import dataclass

from semserve_server.cuda.bound_session import BoundSession, Place
from semserve_server.cuda.libraries import (
    CUDA,
    TENSORRT,
    cuda_problem,
    gpu_count,
    tensorrt_problem,
)
from semserve_server.errors import ConfigError
from semserve_server.runtime.device import Device
from semserve_server.runtime.graph import Graph

log = logging.getLogger(__name__)

RUNS_PER_GPU = 2
"""Runs of a GPU at the same time: while one computes, the other is padded, copied and answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CudaOptions:
    """Settings of sessions on GPUs."""

    memory_limit: int = 0
    """Most bytes of a session's arena on each GPU, without its weights; 0 for no limit."""
    cuda_graphs: bool = False
    """Whether each shape is captured as a CUDA graph."""

    @property
    def runs_per_gpu(self) -> int:
        """Most runs of a GPU at the same time."""
        return 1 if self.cuda_graphs else RUNS_PER_GPU


def usable_device(wanted: Device) -> Device:
    """Return the device to use: for `auto`, all of this machine's choice; else what is wanted.

    Raises:
        ConfigError: it cannot be used; the text says what is missing and how to install it.
    """
    if wanted.kind == "cpu":
        return wanted
    if wanted.kind == "auto":
        if problem := cuda_problem():
            log.debug("--device auto: uses the CPU: %s", problem)
            return Device("cpu")
        return Device("cuda")
    problem = tensorrt_problem() if wanted.kind == "tensorrt" else cuda_problem()
    if problem:
        raise ConfigError(f"--device {wanted}: {problem}; or start with --device cpu")
    if max(wanted.gpus) >= gpu_count():
        raise ConfigError(
            f"--device {wanted}: this machine has {gpu_count()} GPUs, numbered from 0 "
            "(CUDA_VISIBLE_DEVICES hides the others)"
        )
    return wanted


def places(device: Device, options: CudaOptions) -> list[Place]:
    """Return where to load a graph, for each GPU of a device."""
    found = []
    for gpu in device.gpus:
        cuda = {
            "device_id": str(gpu),
            # TensorFloat-32 rounds inputs to 10 bits; results would differ from Keras by 1e-3.
            "use_tf32": "0",
            "arena_extend_strategy": "kSameAsRequested",
        }
        if options.memory_limit:
            cuda["gpu_mem_limit"] = str(options.memory_limit)
        if options.cuda_graphs:
            cuda["enable_cuda_graph"] = "1"
        if device.kind == "tensorrt":
            tensorrt = {"device_id": str(gpu)}
            found.append(Place(TENSORRT, tensorrt, "cuda", gpu, fallbacks=((CUDA, cuda),)))
        else:
            found.append(Place(CUDA, cuda, "cuda", gpu))
    return found


def open_session(
    graph: Graph, device: Device, options: CudaOptions, *, max_length: int
) -> BoundSession:
    """Load a graph on the GPUs of a device.

    Raises:
        BundleError: ONNX Runtime cannot load the graph.
        MisplacedNodes: nodes would run on the CPU.
    """
    return BoundSession(
        graph,
        places(device, options),
        max_length=max_length,
        runs_per_gpu=options.runs_per_gpu,
        cuda_graphs=options.cuda_graphs,
    )


def gpu_names(device: Device) -> str:
    """Return the names of the GPUs of a device, as the driver has them."""
    names = []
    for gpu in device.gpus:
        handle, name = ctypes.c_int(), ctypes.create_string_buffer(128)
        driver = ctypes.CDLL("libcuda.so.1")
        driver.cuDeviceGet(ctypes.byref(handle), gpu)
        driver.cuDeviceGetName(name, len(name), handle)
        names.append(name.value.decode(errors="replace"))
    return ", ".join(names)
