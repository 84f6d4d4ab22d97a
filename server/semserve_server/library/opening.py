"""Opens a bundle as a model of this program."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Unpack

from semserve_server.config import Config
from semserve_server.engine import Engine
from semserve_server.library.async_model import AsyncModel
from semserve_server.library.model import Model
from semserve_server.library.settings import Settings, config_of
from semserve_server.registry import cache_directory
from semserve_server.registry.calibration_cache import open_cache
from semserve_server.registry.calibration_source import CalibrationSource
from semserve_server.registry.loader import load
from semserve_server.registry.loader_thread import Loader
from semserve_server.request_checks import Limits
from semserve_server.runtime.worker_threads import Workers
from semserve_server.services.scoring_thread import ScoringThread


def open_model(
    bundle: str | os.PathLike[str],
    *,
    device: str = "auto",
    variant: str = "auto",
    **settings: Unpack[Settings],
) -> Model:
    """Load a bundle for calls from any thread. Close it after use, for example with `with`.

    Args:
        bundle: directory of one bundle.
        device: as `--device` of the server.
        variant: as `--variant` of the server.
        settings: as the server's flags of the same names; each has the default of its flag.

    Raises:
        BundleError: the bundle is missing or broken.
        ConfigError: a setting is unknown or cannot be honoured.
    """
    config = _config(bundle, {"device": device, "variant": variant, **settings})
    return Model(lambda: _opened(config))


@contextlib.asynccontextmanager
async def open_async_model(
    bundle: str | os.PathLike[str],
    *,
    device: str = "auto",
    variant: str = "auto",
    **settings: Unpack[Settings],
) -> AsyncIterator[AsyncModel]:
    """Load a bundle for calls on this event loop. Use it with `async with`.

    The arguments and the errors are those of `open_model`.
    """
    config = _config(bundle, {"device": device, "variant": variant, **settings})
    async with _opened(config) as model:
        yield model


def _config(bundle: str | os.PathLike[str], given: dict[str, Any]) -> Config:
    return cache_directory.resolved(config_of(Path(bundle), given), os.environ)


@contextlib.asynccontextmanager
async def _opened(config: Config) -> AsyncIterator[AsyncModel]:
    """Load and verify a bundle as the server does, and close its model at the end."""
    loader = Loader(config, Workers(), CalibrationSource(open_cache(config.calibration_cache)))
    try:
        loaded = await loader.load(load, config.models)
    finally:
        loader.close()
    engine = Engine(
        loaded.bundle,
        loaded.tokenizer,
        loaded.runner,
        loaded.capacity,
        variant=loaded.variant,
        provider=loaded.provider,
    )
    scorer = ScoringThread(max_waiting=config.max_queue_scores)
    model = AsyncModel(engine, Limits.of(config), scorer)
    try:
        yield model
    finally:
        await model.close()
