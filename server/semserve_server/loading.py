"""From a directory on disk to a session that has given the golden answers."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from pathlib import Path

from semserve_server import echo
from semserve_server.bundle import Bundle, Manifest, find_bundles, read_bundle, read_graph
from semserve_server.calibration import Calibration, calibrate
from semserve_server.config import Config
from semserve_server.engine import Capacity
from semserve_server.errors import BundleError, BundleUnreadable, StartupError
from semserve_server.golden import prove_golden
from semserve_server.memory import return_memory
from semserve_server.runner import Runner
from semserve_server.session import CUDA, Graph, Session, usable_cpus
from semserve_server.tokenizer import Tokenizer

log = logging.getLogger(__name__)

CUDA_TOLERANCE = 1e-4
"""Most of `scaled_difference` from Keras on CUDA, whose kernels add up in another order."""
SHORT_RUN_SECONDS = 0.001
"""A lone run that one thread ends within it is not worth waking others for."""
AUTO = ("fused", "portable")
"""What `--variant auto` looks for: the quickest that computes in fp32 and so answers as Keras."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A bundle that answers as it should, with what was measured of it."""

    bundle: Bundle
    variant: str
    tokenizer: Tokenizer
    runner: Runner
    provider: str
    capacity: Capacity


def load_all(config: Config, stop: threading.Event) -> list[Loaded]:
    """Load and prove every bundle, one after another; none any more once `stop` is set.

    Raises:
        StartupError: a bundle or a setting cannot be served; the text names it.
    """
    if config.echo:
        return [_echo(config)]
    loaded: list[Loaded] = []
    for directory in find_bundles(config.models):
        if stop.is_set():
            break
        loaded.append(load(config, directory))
        name = loaded[-1].bundle.manifest.model
        if any(one.bundle.manifest.model == name for one in loaded[:-1]):
            raise BundleError(f"{config.models}: two bundles are named {name!r}: remove one")
    return loaded


def load(config: Config, directory: Path) -> Loaded:
    """Load and prove one bundle.

    Raises:
        StartupError: it cannot be served; the text names it, and says of what it is the fault.
    """
    try:
        return _prove(config, read_bundle(directory))
    except StartupError:
        raise
    except (OSError, MemoryError) as error:
        raise BundleUnreadable(f"{directory}: cannot be loaded now: {error}") from error
    except Exception as error:
        # A bundle is hostile input, and what ONNX Runtime, the tokenizer or the disk raise over it
        # has no common ancestor.
        raise BundleError(f"{directory}: cannot be served: {error}") from error
    finally:
        return_memory()


def _prove(config: Config, bundle: Bundle) -> Loaded:
    manifest = bundle.manifest
    variant = choose_variant(manifest, config.variant)
    tokenizer = Tokenizer(bundle.tokenizer, max_length=manifest.max_sequence_length)
    graph = Graph(
        name=f"{bundle.directory / manifest.variants[variant].file}",
        content=read_graph(bundle, variant),
        inputs=tuple(manifest.inputs),
        output=manifest.output,
        outputs=manifest.outputs,
    )
    cpus = usable_cpus(config.processes)
    lanes = config.lanes or cpus
    threads = max(cpus // lanes, 1)
    wide_threads = config.threads or cpus
    session = Session(graph, device=config.device, threads=threads, wide_threads=wide_threads)
    on_cuda = session.provider == CUDA
    tolerance = max(
        bundle.golden.tolerance,
        manifest.variants[variant].tolerance,
        CUDA_TOLERANCE if on_cuda else 0.0,
    )
    difference = prove_golden(bundle, tokenizer, session, tolerance=tolerance)
    log.debug("%s: differs from Keras by %.1e", manifest.model, difference)
    calibration = calibrate(session, max_length=manifest.max_sequence_length)
    if not config.threads and calibration.lone_seconds < SHORT_RUN_SECONDS:
        session.drop_wide()
        wide_threads = threads
    capacity = _capacity(
        config,
        calibration,
        # One CUDA session is one stream: runs side by side would only wait for each other.
        lanes=(config.lanes or 1) if on_cuda else lanes,
        threads=threads,
        wide_threads=wide_threads,
    )
    return Loaded(bundle, variant, tokenizer, session, session.provider, capacity)


def _echo(config: Config) -> Loaded:
    bundle = echo.echo_bundle(config.echo)
    tokenizer = Tokenizer(bundle.tokenizer, max_length=bundle.manifest.max_sequence_length)
    runner = echo.Echo(config.echo)
    calibration = calibrate(runner, max_length=bundle.manifest.max_sequence_length)
    capacity = _capacity(config, calibration, lanes=1, threads=1, wide_threads=1)
    return Loaded(bundle, echo.VARIANT, tokenizer, runner, echo.PROVIDER, capacity)


def _capacity(
    config: Config, calibration: Calibration, *, lanes: int, threads: int, wide_threads: int
) -> Capacity:
    return Capacity(
        lanes=lanes,
        threads=threads,
        wide_threads=wide_threads,
        max_batch_tokens=config.max_batch_tokens or calibration.max_batch_tokens,
        max_queue_entries=config.max_queue_entries,
        max_queue_tokens=config.max_queue_tokens,
        max_queue_characters=config.max_queue_characters,
        cost=calibration.cost,
    )


def choose_variant(manifest: Manifest, wanted: str) -> str:
    """Return the name of the graph to run.

    Raises:
        BundleError: the bundle does not have it.
    """
    candidates = AUTO if wanted == "auto" else (wanted,)
    for name in candidates:
        if name in manifest.variants:
            return name
    raise BundleError(
        f"--variant {wanted}: {manifest.model} has {', '.join(sorted(manifest.variants))}"
    )
