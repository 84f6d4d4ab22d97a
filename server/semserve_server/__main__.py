"""The command `semserve-server`: the only place that reads argv and the environment."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import cyclopts
from cyclopts import Parameter
from cyclopts.validators import Number

from semserve_server import __version__
from semserve_server.config import Config
from semserve_server.errors import EngineFailed, ProcessFailed, StartupError
from semserve_server.observability import logs
from semserve_server.observability.stderr import say
from semserve_server.registry import cache_directory
from semserve_server.supervision.event_loop import MainLoop
from semserve_server.system import environment

log = logging.getLogger(__name__)

INTERRUPTED = 130
"""The exit code of a process that Ctrl-C has ended before it could drain."""

log = logging.getLogger(__name__)

app = cyclopts.App(
    name="semserve-server",
    help="Serve every bundle of a directory over gRPC.",
    version=__version__,
    config=cyclopts.config.Env("SEMSERVE_", command=False),
)


@app.default
def run(config: Annotated[Config | None, Parameter(name="*")] = None) -> int:
    """Serve until SIGTERM or SIGINT; then finish admitted work and exit with 0."""
    config = config or Config()
    logs.configure(config.log_level, config.log_format)
    for line in environment.warnings(os.environ, config):
        log.warning("%s", line)
    cache = cache_directory.chosen(config.calibration_cache, os.environ)
    config = replace(config, calibration_cache=cache)
    # The cores belong to the runs: a tokenizer that spreads over them slows what it feeds.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # Scores are computed on one thread; numpy's BLAS would start one for each CPU.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    loop = MainLoop()
    try:
        loop.run(_serve(config))
    except StartupError as error:
        say(f"semserve-server: {' '.join(str(error).split())}")
        return loop.end(2)
    except (EngineFailed, ProcessFailed) as error:
        say(f"semserve-server: {error}")
        return loop.end(1, at_once=True)
    except KeyboardInterrupt:
        return loop.end(INTERRUPTED)
    except Exception:
        log.exception("the server failed. This is a bug.")
        return loop.end(1)
    return loop.end(0)


@app.command(config=())  # no environment variables: each run makes another key
def key(
    name: str,
    /,
    *,
    file: Path,
    only: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    tokens_per_second: Annotated[int | None, Parameter(validator=Number(gte=1))] = None,
    control: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Make an API key: print it, once and for all, and add its line to the file of `--keys`.

    Args:
        name: What logs call the key; letters, digits, _ and -.
        file: The key file, which is made where there is none.
        only: A model that the key may use; give it again for another. Without it, every model.
        tokens_per_second: How many tokens it may use in a second; without it, any number.
        control: Let it load and unload its models, where --allow-model-control lets anybody.
    """
    from semserve_server.auth.api_key import new_key
    from semserve_server.auth.key_file import add_key

    models = frozenset(only) or None
    try:
        presented, made = new_key(
            name, models=models, tokens_per_second=tokens_per_second, control=control
        )
        add_key(file, made)
    except (OSError, ValueError) as error:
        print(f"semserve-server: {file}: {error}", file=sys.stderr)
        return 2
    print(presented)
    return 0


def _serve(config: Config) -> Coroutine[None, None, None]:
    """Import what serves only here, so that --help is instant and a parent stays small."""
    if config.processes > 1:
        from semserve_server.processes.supervisor import serve_in_processes

        return serve_in_processes(config)
    from semserve_server.server import serve

    return serve(config)


def main() -> None:
    """Run the command; wrong usage ends with exit code 2, as a failed start does."""
    environment.adopt(os.environ)
    try:
        sys.exit(app(exit_on_error=False))
    except cyclopts.CycloptsError:
        sys.exit(2)


if __name__ == "__main__":
    main()
