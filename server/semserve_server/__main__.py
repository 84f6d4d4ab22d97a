"""The command `semserve-server`: the only place that reads argv and the environment."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Annotated

import cyclopts
from cyclopts import Parameter
from cyclopts.validators import Number

from semserve_server import __version__
from semserve_server.config import Config
from semserve_server.errors import EngineFailed, StartupError
from semserve_server.observe import logs

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
    # The cores belong to the runs: a tokenizer that spreads over them slows what it feeds.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # Imported here so that --help is instant.
    from semserve_server.server import serve  # noqa: PLC0415

    try:
        with asyncio.Runner(loop_factory=_new_loop) as runner:
            runner.run(serve(config))
    except StartupError as error:
        print(f"semserve-server: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except EngineFailed as error:
        print(f"semserve-server: {error}", file=sys.stderr)
        # Threads that hang inside ONNX Runtime would keep the interpreter from ending.
        sys.stderr.flush()
        os._exit(1)
    return 0


@app.command
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
    from semserve_server.key_file import add_key  # noqa: PLC0415
    from semserve_server.keys import new_key  # noqa: PLC0415

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


def _new_loop() -> asyncio.AbstractEventLoop:
    """Make the event loop; uvloop's costs a call some 30 us of CPU less, and Windows has none."""
    if sys.platform == "win32":
        return asyncio.new_event_loop()
    import uvloop  # noqa: PLC0415

    return uvloop.new_event_loop()


def main() -> None:
    """Run the command; wrong usage ends with exit code 2, as a failed start does."""
    try:
        sys.exit(app(exit_on_error=False))
    except cyclopts.CycloptsError:
        sys.exit(2)


if __name__ == "__main__":
    main()
