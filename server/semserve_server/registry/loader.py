"""Loads a bundle: from a directory to a session that reproduces the golden answers."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path

from semserve_server import __version__
from semserve_server.config import Config
from semserve_server.cuda.bound_session import BoundSession
from semserve_server.cuda.opening import gpu_names
from semserve_server.engine import Capacity
from semserve_server.errors import BundleError, BundleUnreadable, StartupError
from semserve_server.registry.calibration import Calibration, calibrate
from semserve_server.registry.calibration_cache import CacheKey
from semserve_server.registry.calibration_source import CalibrationSource
from semserve_server.registry.measurements import LARGEST_BUDGET
from semserve_server.registry.sessions import Opened, cuda_options, open_verified
from semserve_server.repository import echo
from semserve_server.repository.golden import verify_golden
from semserve_server.repository.manifest import Bundle, Manifest, read_bundle
from semserve_server.runtime.device import Device
from semserve_server.runtime.runner import Runner
from semserve_server.runtime.session import VERSION, Session
from semserve_server.runtime.tokenizer import Tokenizer
from semserve_server.system.cpus import cpu_model, usable_cpus
from semserve_server.system.memory import return_memory

log = logging.getLogger(__name__)

MOST_TOKENIZERS = 8
"""Most threads that tokenise for a model on a GPU. Other numbers were not measured."""

CUDA_TOLERANCE = 1e-4
"""Largest `scaled_difference` from Keras on CUDA, whose kernels sum in another order."""
SHORT_RUN_SECONDS = 0.001
"""If one thread finishes a single run within this time, more threads are not worth waking."""
MOST_MEASURED_NUMBERS = 2**26
"""Most logits of a measured batch of a sparse model: 256 MiB in float32."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A verified bundle with its tokenizer, its session and its measurements."""

    bundle: Bundle
    variant: str
    tokenizer: Tokenizer
    runner: Runner
    provider: str
    capacity: Capacity


def load(config: Config, directory: Path, calibrations: CalibrationSource | None = None) -> Loaded:
    """Load and verify one bundle; with `--echo`, the echo model.

    Args:
        config: the settings.
        directory: directory of the bundle.
        calibrations: finds the cost of its runs; without it, the cost is measured.

    Raises:
        StartupError: the bundle cannot be loaded; the text names the bundle and the fault.
    """
    try:
        if config.echo:
            return _echo(config)
        return _load(config, read_bundle(directory), calibrations or CalibrationSource())
    except StartupError:
        raise
    except (OSError, MemoryError) as error:
        raise BundleUnreadable(f"{directory}: cannot be loaded at present: {error}") from error
    except Exception as error:
        # A bundle is hostile input, and the errors of ONNX Runtime, the tokenizer and the disk have
        # no common base class.
        raise BundleError(f"{directory}: cannot be loaded: {error}") from error
    finally:
        return_memory()


def _load(config: Config, bundle: Bundle, calibrations: CalibrationSource) -> Loaded:
    manifest = bundle.manifest
    tokenizer = make_tokenizer(bundle)
    if manifest.task == "sparse_embedding":
        _ = tokenizer.longest_token  # found here, and not on the event loop
    cpus = usable_cpus(config.processes)
    workers = config.batch_workers or cpus
    threads = max(cpus // workers, 1)
    exclusive_threads = config.intra_op_threads or cpus
    opened = open_verified(
        config,
        bundle,
        lambda opened: _verify(bundle, tokenizer, opened),
        threads=threads,
        exclusive_threads=exclusive_threads,
    )
    session, variant = opened.session, opened.variant
    on_gpu = isinstance(session, BoundSession)
    cpu = cpu_model()
    if on_gpu:  # has no second session for lone runs
        workers = config.batch_workers or _gpu_workers(config, opened.device)
        threads = exclusive_threads = 1
        cpu = f"{cpu}, {opened.device} {gpu_names(opened.device)}"[:256]
    calibration = calibrations.find(
        manifest.model,
        CacheKey(
            digest=bundle.digest,
            variant=variant,
            provider=f"{session.provider}{' with graphs' if config.cuda_graphs else ''}",
            cpu=cpu,
            threads=threads,
            exclusive_threads=exclusive_threads,
            onnxruntime=VERSION,
            server=__version__,
        ),
        opened.graph_bytes,
        lambda: (
            calibrate(
                session,
                max_length=manifest.max_sequence_length,
                blank=tokenizer.blank,
                most_tokens=_most_tokens(manifest),
                exclusive=exclusive_threads > threads,
                # With one thread, a run uses the calling thread. On a GPU the time of the CPU does
                # not count.
                clock=time.thread_time if threads == 1 and not on_gpu else time.perf_counter,
                wall=time.perf_counter,
            ).measurements
        ),
    )
    short = calibration.lone_seconds < SHORT_RUN_SECONDS
    if (
        exclusive_threads > threads
        and not config.intra_op_threads
        and (short or not calibration.exclusive_pays)
    ):
        if isinstance(session, Session):
            session.drop_exclusive()
        exclusive_threads = threads
    capacity = _capacity(
        config,
        calibration,
        workers=workers,
        threads=threads,
        exclusive_threads=exclusive_threads,
        on_gpu=on_gpu,
    )
    if isinstance(session, BoundSession):
        session.warm_up(tokenizer.blank, most_tokens=capacity.max_batch_tokens)
    return Loaded(bundle, variant, tokenizer, session, session.provider, capacity)


def _verify(bundle: Bundle, tokenizer: Tokenizer, opened: Opened) -> None:
    """Compare the answers of a session with the golden ones.

    Raises:
        BundleError: they differ.
    """
    tolerance = max(
        bundle.golden.tolerance,
        bundle.manifest.variants[opened.variant].tolerance,
        CUDA_TOLERANCE if isinstance(opened.session, BoundSession) else 0.0,
    )
    difference = verify_golden(bundle, tokenizer, opened.session, tolerance=tolerance)
    log.debug("%s: differs from Keras by %.1e", bundle.manifest.model, difference)


def _gpu_workers(config: Config, device: Device) -> int:
    return len(device.gpus) * cuda_options(config).runs_per_gpu


def make_tokenizer(bundle: Bundle) -> Tokenizer:
    """Create the tokenizer of a bundle, with the options of its manifest.

    Raises:
        ValueError: tokenizer.json cannot be read.
    """
    manifest = bundle.manifest
    return Tokenizer(
        bundle.tokenizer,
        max_length=manifest.max_sequence_length,
        hypothesis_first=manifest.hypothesis_first,
        separate=manifest.separate,
        padded_length=manifest.padded_length or 0,
        pair_truncation=manifest.pair_truncation or "longest_first",
    )


def _most_tokens(manifest: Manifest) -> int:
    """Return the most tokens of a measured batch.

    A sparse model computes a number for each pair of a token in the batch and a token of the
    vocabulary. A measured batch has at most `MOST_MEASURED_NUMBERS` of them.
    """
    if manifest.task == "sparse_embedding":
        return min(MOST_MEASURED_NUMBERS // manifest.outputs, LARGEST_BUDGET)
    return LARGEST_BUDGET


def _echo(config: Config) -> Loaded:
    bundle = echo.echo_bundle(config.echo)
    tokenizer = Tokenizer(bundle.tokenizer, max_length=bundle.manifest.max_sequence_length)
    runner = echo.Echo(config.echo)
    calibration = calibrate(runner, max_length=bundle.manifest.max_sequence_length)
    capacity = _capacity(config, calibration, workers=1, threads=1, exclusive_threads=1)
    return Loaded(bundle, echo.VARIANT, tokenizer, runner, echo.PROVIDER, capacity)


def _capacity(
    config: Config,
    calibration: Calibration,
    *,
    workers: int,
    threads: int,
    exclusive_threads: int,
    on_gpu: bool = False,
) -> Capacity:
    return Capacity(
        on_gpu=on_gpu,
        workers=workers,
        threads=threads,
        exclusive_threads=exclusive_threads,
        max_batch_tokens=config.max_batch_tokens or calibration.max_batch_tokens,
        max_queue_entries=config.max_queue_entries,
        max_queue_tokens=config.max_queue_tokens,
        max_queue_characters=config.max_queue_characters,
        tokenizer_threads=min(usable_cpus(config.processes), MOST_TOKENIZERS) if on_gpu else 1,
        cost=calibration.cost,
    )
