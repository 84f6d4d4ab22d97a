"""The command `python -m chaos`: the long forms, each figure a JSON line as it comes."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import cyclopts
from cyclopts import Parameter
from cyclopts.validators import Number

from chaos import parts

_Count = Annotated[int, Parameter(validator=Number(gte=1))]


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How much of everything."""

    only: tuple[str, ...] = ()
    """Parts to run; all of them where none is named."""

    requests: _Count = 1_000_000
    """Requests of the storm, a tenth in each round."""

    examples: _Count = 10_000
    """Requests of the fuzzer."""

    force: _Count = 2000
    """How hard strangers try."""

    rounds: _Count = 10
    """How often servers are ended in each way, and reloaded."""

    seed: int = 20_261_122
    """What the made-up texts and behaviour come from."""

    results: Path = Path("results")
    """Where `chaos.jsonl` is written."""


app = cyclopts.App(
    name="chaos",
    help="Let callers, strangers and signals do their worst to servers over the tiny models.",
    config=cyclopts.config.Env("SEMSERVE_CHAOS_", command=False),
    version_flags=(),
)


@app.default
def run(settings: Annotated[Settings | None, Parameter(name="*")] = None) -> int:
    """Run the parts; the exit code is 1 where a promise was broken."""
    settings = settings or Settings()
    # Servers are ended on the way out, so whoever ends this must let it go that way.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    settings.results.mkdir(parents=True, exist_ok=True)
    broken = 0
    with (settings.results / "chaos.jsonl").open("w", encoding="utf-8") as lines:
        for name in settings.only or parts.PARTS:
            for figure in _figures(name, settings):
                line = json.dumps(figure, ensure_ascii=False)
                print(line, flush=True)
                print(line, file=lines, flush=True)
                broken += not figure["kept"]
    print(f"{broken} promises broken")
    return int(broken > 0)


def _figures(name: str, settings: Settings) -> Iterator[dict[str, object]]:
    """Run a part; what it raises is a broken promise too."""
    started = time.perf_counter()
    part: Callable[[Settings], Iterator[parts.Figure]] = parts.PARTS[name]
    try:
        for figure in part(settings):
            yield {"part": name, **figure}
    except Exception as error:  # noqa: BLE001  (one part that fails does not end the others)
        yield {"part": name, "kept": False, "failed": repr(error)}
    yield {"part": name, "kept": True, "seconds": round(time.perf_counter() - started, 1)}


if __name__ == "__main__":
    sys.exit(app())
