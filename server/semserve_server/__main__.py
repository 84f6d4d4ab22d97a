"""The command `semserve-server`: the only module that reads argv and the environment."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Coroutine
from functools import partial
from pathlib import Path
from typing import Annotated

import cyclopts
from cyclopts import Parameter
from cyclopts.validators import Number

from semserve_server import __version__
from semserve_server.config import Config
from semserve_server.errors import EngineFailed, ProcessFailed, StartupError
from semserve_server.frontend.event_loop import new_event_loop
from semserve_server.observability import logs
from semserve_server.observability.stderr import write_line
from semserve_server.registry import cache_directory
from semserve_server.supervision.event_loop import MainLoop
from semserve_server.system import environment
from semserve_server.system.whole_numbers import refuse_fractions

log = logging.getLogger(__name__)

INTERRUPTED = 130
"""Exit code if Ctrl-C ended the process before it could drain: 128 + SIGINT."""

app = cyclopts.App(
    name="semserve-server",
    help="Serve every bundle of a directory over gRPC.",
    version=__version__,
    config=(cyclopts.config.Env("SEMSERVE_", command=False), refuse_fractions),
)


@app.default
def run(config: Annotated[Config | None, Parameter(name="*")] = None) -> int:
    """Serve until SIGTERM or SIGINT; then finish admitted work and exit with 0."""
    config = config or Config()
    logs.configure(config.log_level, config.log_format)
    for line in (
        *environment.renamed_flags(sys.argv[1:]),
        *environment.warnings(os.environ, config),
    ):
        log.warning("%s", line)
    config = cache_directory.resolved(config, os.environ)
    # One thread for each tokenizer: more would take CPUs from the runs.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # Scores are computed on one thread; numpy's BLAS would start one for each CPU.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # The wheels of ONNX Runtime 1.31 send usage data to their maker, from a thread of their own.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    loop = MainLoop(partial(new_event_loop, config.frontend))
    try:
        loop.run(_serve(config))
    except StartupError as error:
        write_line(f"semserve-server: {' '.join(str(error).split())}")
        return loop.end(2)
    except (EngineFailed, ProcessFailed) as error:
        write_line(f"semserve-server: {error}")
        return loop.end(1, at_once=True)
    except KeyboardInterrupt:
        return loop.end(INTERRUPTED)
    except Exception:
        log.exception("the server failed. This is a bug.")
        return loop.end(1)
    return loop.end(0)


# No environment variables: each call of the command makes another key.
@app.command(config=refuse_fractions)
def key(
    name: str,
    /,
    *,
    file: Path,
    model: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    tokens_per_second: Annotated[int | None, Parameter(validator=Number(gte=1))] = None,
    model_control: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Make an API key: print the key, and add its line to the file of `--api-key-file`.

    The key is printed once. The file holds only its SHA-256.

    Args:
        name: The name of the key in logs and metrics; letters, digits, _ and -.
        file: The key file. The command creates it if it does not exist.
        model: A model that the key may use. Repeat the flag for further models. Without it, the
            key may use every model.
        tokens_per_second: Most tokens that the key may use in a second. Without it, there is no
            limit.
        model_control: The key may load and unload its models. The server must also run with
            --allow-model-control.
    """
    from semserve_server.auth.api_key import new_key
    from semserve_server.auth.key_file import add_key

    for line in environment.renamed_flags(sys.argv[1:]):
        print(f"semserve-server: {line}", file=sys.stderr)
    models = frozenset(model) or None
    try:
        presented, made = new_key(
            name, models=models, tokens_per_second=tokens_per_second, control=model_control
        )
        add_key(file, made)
    except (OSError, ValueError) as error:
        print(f"semserve-server: {file}: {error}", file=sys.stderr)
        return 2
    print(presented)
    return 0


def _serve(config: Config) -> Coroutine[None, None, None]:
    """Start to serve. The imports are here so that --help is fast and a supervisor stays small."""
    if config.processes > 1:
        from semserve_server.processes.supervisor import serve_in_processes

        return serve_in_processes(config)
    from semserve_server.server import serve

    return serve(config)


def main() -> None:
    """Run the command. Wrong usage ends with exit code 2, as a failed start does."""
    environment.adopt(os.environ)
    try:
        sys.exit(app(environment.present_names(sys.argv[1:]), exit_on_error=False))
    except cyclopts.CycloptsError:
        sys.exit(2)


if __name__ == "__main__":
    main()
