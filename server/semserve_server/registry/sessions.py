"""Opens the session of a bundle on the device of the settings, with the variant for that device."""

from __future__ import annotations

import logging

from semserve_server.config import Config
from semserve_server.cuda.bound_session import BoundSession
from semserve_server.cuda.opening import CudaOptions, open_session, usable_device
from semserve_server.errors import BundleError, MisplacedNodes
from semserve_server.repository.manifest import Bundle, Manifest, read_graph
from semserve_server.runtime.device import Device, parse_device
from semserve_server.runtime.graph import Graph
from semserve_server.runtime.session import Session

log = logging.getLogger(__name__)

AUTO = ("fused", "portable")
"""The variants for `--variant auto` on the CPU: the fastest one in fp32, whose results agree with
Keras."""
AUTO_ON_GPU = ("fp16", "portable", "fused")
"""The same on a GPU: tensor cores compute fp16 ten times as fast as fp32, and the packed graph
`fused` makes the GPU wait for the host."""


class Opened:
    """A session, the variant that it runs, and the size of the graph."""

    def __init__(
        self, session: Session | BoundSession, variant: str, graph: Graph, device: Device
    ) -> None:
        self.session = session
        self.variant = variant
        self.graph_bytes = len(graph.content)
        self.device = device


def open_on_device(
    config: Config, bundle: Bundle, *, threads: int, exclusive_threads: int
) -> Opened:
    """Load the graph of a bundle.

    With `--device auto`, a model that cannot run wholly on the GPU runs on the CPU.

    Raises:
        ConfigError: the device cannot be used.
        BundleError: the bundle has no such variant, or ONNX Runtime cannot load the graph.
    """
    wanted = parse_device(config.device)
    device = usable_device(wanted)
    manifest = bundle.manifest
    if device.kind != "cpu":
        variant = choose_variant(manifest, config.variant, on_gpu=True)
        graph = graph_of(bundle, variant)
        options = cuda_options(config)
        try:
            session = open_session(graph, device, options, max_length=manifest.max_sequence_length)
        except MisplacedNodes as error:
            if wanted.kind != "auto":
                raise
            log.warning("%s runs on the CPU: %s", manifest.model, error)
        else:
            return Opened(session, variant, graph, device)
    variant = choose_variant(manifest, config.variant)
    graph = graph_of(bundle, variant)
    on_cpu = Session(graph, threads=threads, exclusive_threads=exclusive_threads)
    return Opened(on_cpu, variant, graph, Device("cpu"))


def cuda_options(config: Config) -> CudaOptions:
    """Return the settings of sessions on GPUs."""
    return CudaOptions(memory_limit=config.gpu_memory_limit, cuda_graphs=config.cuda_graphs)


def gpu_runs(config: Config) -> int:
    """Return the runs that the GPUs of `--device` have at the same time; 0 for `cpu`.

    Raises:
        ConfigError: the text is not a device.
    """
    device = parse_device(config.device)
    return 0 if device.kind == "cpu" else len(device.gpus) * cuda_options(config).runs_per_gpu


def graph_of(bundle: Bundle, variant: str) -> Graph:
    """Read the graph of a variant."""
    manifest = bundle.manifest
    facts = manifest.variants[variant]
    return Graph(
        name=f"{bundle.directory / facts.file}",
        content=read_graph(bundle, variant),
        inputs=tuple(manifest.inputs),
        output=manifest.output,
        outputs=manifest.outputs,
        pads_start=manifest.padding == "start",
        cpu_operators=frozenset(facts.cpu_operators or ()),
    )


def choose_variant(manifest: Manifest, wanted: str, *, on_gpu: bool = False) -> str:
    """Return the name of the graph to run.

    Raises:
        BundleError: the bundle does not have it.
    """
    candidates = (AUTO_ON_GPU if on_gpu else AUTO) if wanted == "auto" else (wanted,)
    for name in candidates:
        if name in manifest.variants:
            return name
    raise BundleError(
        f"--variant {wanted}: {manifest.model} has {', '.join(sorted(manifest.variants))}"
    )
