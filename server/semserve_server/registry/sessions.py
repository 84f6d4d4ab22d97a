"""Opens the session of a bundle on the device of the settings, with the variant for that device."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from semserve_server.config import Config
from semserve_server.cuda.bound_session import BoundSession
from semserve_server.cuda.opening import CudaOptions, open_session, usable_device
from semserve_server.errors import BundleError, ConfigError, MisplacedNodes
from semserve_server.graph_cache.graph_cache import GraphCache
from semserve_server.registry.cache_directory import AUTO, NONE
from semserve_server.repository.manifest import Bundle, Manifest, read_graph
from semserve_server.runtime.device import Device, parse_device
from semserve_server.runtime.graph import Graph
from semserve_server.runtime.session import Session, cache_key, optimise
from semserve_server.system.cpus import cpu_features
from semserve_server.system.memory import return_memory

log = logging.getLogger(__name__)

BEST = ("fused", "portable")
"""The variants for `--variant auto` on the CPU: the fastest one in fp32, whose results agree with
Keras."""
BEST_ON_GPU = ("fp16", "portable", "fused")
"""The same on a GPU: tensor cores compute fp16 ten times as fast as fp32, and the packed graph
`fused` makes the GPU wait for the host."""

CACHED = ("fused", "int8")
"""The variants whose optimised graphs are kept: the export writes them itself, of few operators,
and every one of those was tried. A portable graph may hold any operator of a user's model, and ONNX
Runtime 1.31 ends the process where it runs some of them, such as LSTM, with packed weights of a
file."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A session, the variant that it runs, and the size of the bundle's graph in bytes."""

    session: Session | BoundSession
    variant: str
    graph_bytes: int
    device: Device
    forget: Callable[[], None] | None = None
    """Removes the optimised graph from the cache; None if the session runs the bundle's graph."""


def open_verified(
    config: Config,
    bundle: Bundle,
    verify: Callable[[Opened], None],
    *,
    threads: int,
    exclusive_threads: int,
) -> Opened:
    """Load the graph of a bundle, and verify its answers.

    A session of the cache that fails is removed from it, and replaced by one of the bundle's graph.

    Args:
        config: the settings.
        bundle: the bundle.
        verify: raises BundleError if the session does not reproduce the golden answers.
        threads: intra-op threads of a run beside other runs.
        exclusive_threads: intra-op threads of a run that is alone.

    Raises:
        ConfigError, BundleError: as `open_on_device` and `verify`.
    """
    cache = open_graph_cache(config)
    opened: Opened | None = None
    try:
        opened = open_on_device(
            config, bundle, threads=threads, exclusive_threads=exclusive_threads, cache=cache
        )
        verify(opened)
    except Exception as error:
        # The errors of ONNX Runtime have no common base class.
        if opened is None or opened.forget is None:
            raise
        log.warning("the optimised graph of %s is not used: %s", bundle.directory, error)
        opened.forget()
    else:
        return opened
    del opened
    return_memory()
    opened = open_on_device(config, bundle, threads=threads, exclusive_threads=exclusive_threads)
    verify(opened)
    return opened


def open_graph_cache(config: Config) -> GraphCache | None:
    """Open the cache of `--cache-dir`; None if the setting names no directory.

    Raises:
        ConfigError: the directory cannot be created, or other users can write it.
    """
    if config.cache_dir in {NONE, AUTO}:
        return None
    return GraphCache(Path(config.cache_dir), max_bytes=config.max_cache_bytes)


def open_on_device(
    config: Config,
    bundle: Bundle,
    *,
    threads: int,
    exclusive_threads: int,
    cache: GraphCache | None = None,
) -> Opened:
    """Load the graph of a bundle, on the CPU from the cache if there is one.

    With `--device auto`, a model that cannot run wholly on the GPU runs on the CPU.

    Raises:
        ConfigError: the device cannot be used, or a setting of GPUs is given for the CPU.
        BundleError: the bundle has no such variant, or ONNX Runtime cannot load the graph.
    """
    wanted = parse_device(config.device)
    if wanted.kind == "cpu" and (config.gpu_memory_limit or config.cuda_graphs):
        flag = "--gpu-memory-limit" if config.gpu_memory_limit else "--cuda-graphs"
        raise ConfigError(f"{flag}: is for GPUs, and --device is cpu")
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
            return Opened(session, variant, len(graph.content), device)
    variant = choose_variant(manifest, config.variant)
    size = manifest.files[manifest.variants[variant].file].bytes
    if variant not in CACHED:
        cache = None
    if cache is not None and (
        cached := _open_cached(cache, bundle, variant, threads, exclusive_threads)
    ):
        on_cpu, forget = cached
        return Opened(on_cpu, variant, size, Device("cpu"), forget)
    graph = graph_of(bundle, variant)
    on_cpu = Session(graph, threads=threads, exclusive_threads=exclusive_threads)
    return Opened(on_cpu, variant, size, Device("cpu"))


def _open_cached(
    cache: GraphCache, bundle: Bundle, variant: str, threads: int, exclusive_threads: int
) -> tuple[Session, Callable[[], None]] | None:
    """Open the optimised graph of a bundle, which is made if the cache does not have it.

    Returns:
        The session, and what removes the graph from the cache; None if the graph cannot be made or
        opened, or if it is unknown what code this CPU needs.
    """
    cpu = cpu_features()
    if not cpu:
        log.info("no optimised graph is kept: the kernel does not list the CPU's instruction sets")
        return None
    facts = bundle.manifest.variants[variant]
    key = cache_key(bundle.manifest.files[facts.file].sha256, cpu)
    path = cache.find(key)
    if path is None:
        made = graph_of(bundle, variant)
        path = cache.store(key, lambda directory: optimise(made, directory))
        del made
    if path is None:
        return None
    graph = graph_of(bundle, variant, optimised=path)
    try:
        session = Session(graph, threads=threads, exclusive_threads=exclusive_threads)
    except BundleError as error:
        log.warning("%s is not used: %s", path, error)
        cache.remove(key)
        return None
    return session, partial(cache.remove, key)


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


def graph_of(bundle: Bundle, variant: str, *, optimised: Path | None = None) -> Graph:
    """Read the graph of a variant, unless `optimised` is the file of its optimised graph."""
    manifest = bundle.manifest
    facts = manifest.variants[variant]
    return Graph(
        name=f"{bundle.directory / facts.file}",
        content=b"" if optimised else read_graph(bundle, variant),
        inputs=tuple(manifest.inputs),
        output=manifest.output,
        outputs=manifest.outputs,
        pads_start=manifest.padding == "start",
        cpu_operators=frozenset(facts.cpu_operators or ()),
        optimised=optimised,
    )


def choose_variant(manifest: Manifest, wanted: str, *, on_gpu: bool = False) -> str:
    """Return the name of the graph to run.

    Raises:
        BundleError: the bundle does not have it.
    """
    candidates = (BEST_ON_GPU if on_gpu else BEST) if wanted == "auto" else (wanted,)
    for name in candidates:
        if name in manifest.variants:
            return name
    raise BundleError(
        f"--variant {wanted}: {manifest.model} has {', '.join(sorted(manifest.variants))}"
    )
