# ruff: noqa: D417 - shared flags tell about themselves
"""The command `semserve bench`: the throughput and latency of a server, at a glance."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from cyclopts import Parameter
from cyclopts.validators import Number

from semserve.cli.app import SERVER, SERVER_FLAGS, Files, Model, ServerFlags, app
from semserve.cli.command_error import CommandError, UsageError
from semserve.cli.input_texts import read_texts
from semserve.cli.output import print_json, print_table

if TYPE_CHECKING:
    from semserve import Client

MAX_CONCURRENCY = 256
"""Most calls at once, each of which has a thread."""
MAX_SECONDS = 600.0
"""Longest run, in seconds: it bounds the number of durations in memory."""
MAX_TEXTS_PER_CALL = 256
"""Most texts of a call: the client sends more of them over a stream."""
PERCENTILES = (50, 90, 99)
_EXAMPLES = tuple(f"This is example {number} of a short sentence." for number in range(997))
_OK = "OK"

Call = Callable[[Sequence[str]], Any]


class Measured(NamedTuple):
    """What a run counted.

    Attributes:
        seconds: how long it took, from the start of the first call to the end of the last.
        statuses: number of calls by gRPC status.
        durations: seconds of each successful call.
    """

    seconds: float
    statuses: Counter[str]
    durations: list[float]


@app.command(group=SERVER)
def bench(
    *,
    concurrency: Annotated[int, Parameter(validator=Number(gte=1, lte=MAX_CONCURRENCY))] = 8,
    seconds: Annotated[float, Parameter(validator=Number(gt=0, lte=MAX_SECONDS))] = 5.0,
    texts_per_call: Annotated[int, Parameter(validator=Number(gte=1, lte=MAX_TEXTS_PER_CALL))] = 1,
    file: Files = (),
    model: Model = "",
    flags: ServerFlags = SERVER_FLAGS,
) -> None:
    """Measure the throughput and latency of a server for some seconds.

    The calls are unary and without retries, and one call before them is not counted. Every thread
    sends its next call when it has the answer to the last. This process may need more CPU time than
    the server: to find the limits of a server, use a load generator such as ghz.

    Args:
        concurrency: Calls at once.
        seconds: Length of the run. Calls that are sent by then are awaited.
        texts_per_call: Texts of each call, or pairs for a model of pairs.
        file: File with one text in each line, to send in place of short example sentences.
    """
    from semserve import Retry  # noqa: PLC0415 - --help needs no gRPC

    flags.refuse_lists("bench")
    texts = read_texts((), file) if file else _EXAMPLES
    with flags.client(retry=Retry(attempts=1)) as client:
        name, call = _call(client, model)
        call(texts[:texts_per_call])
        measured = _measure(call, texts, texts_per_call, concurrency, seconds)
    document = {
        "model": name, "concurrency": concurrency, "texts_per_call": texts_per_call,
        **_rates(measured, texts_per_call),
    }  # fmt: skip
    if flags.output != "table":
        print_json(document | {"statuses": dict(measured.statuses)})
    else:
        statuses = [(f"calls {status}", number) for status, number in measured.statuses.items()]
        print_table(["field", "value"], [*document.items(), *statuses])
    if not measured.statuses[_OK]:
        raise CommandError(f"no call succeeded: {', '.join(measured.statuses)}")


def _call(client: "Client", model: str) -> tuple[str, Call]:
    """Return the name of the model, and the call for its task."""
    if not model:
        model = client.server_info().default_models.get("embedding", "")
    found = client.model(model)

    def items(texts: Sequence[str]) -> Any:
        return [(text, text) for text in texts] if found.takes_pairs else texts

    calls: dict[str | None, Call] = {
        "embedding": lambda texts: client.embed(texts, model=found.name),
        "classification": lambda texts: client.classify(items(texts), model=found.name),
        "score": lambda texts: client.score(items(texts), model=found.name),
        "sparse_embedding": lambda texts: client.embed_sparse(texts, model=found.name),
    }
    if found.task not in calls:
        raise UsageError(f"{found.name}: bench has no call for {found.task or 'its task'}")
    return found.name, calls[found.task]


def _measure(
    call: Call, texts: Sequence[str], texts_per_call: int, concurrency: int, seconds: float
) -> Measured:
    """Send calls from as many threads, each for as long."""
    from semserve import SemserveError  # noqa: PLC0415 - as above

    statuses: Counter[str] = Counter()
    durations: list[float] = []
    lock, stopped, turns = threading.Lock(), threading.Event(), count()
    begun = time.perf_counter()

    def send() -> None:
        while not stopped.is_set() and (start := time.perf_counter()) < begun + seconds:
            first = next(turns) * texts_per_call
            chosen = [texts[(first + place) % len(texts)] for place in range(texts_per_call)]
            try:
                call(chosen)
                status = _OK
            except SemserveError as error:
                status = error.code
            took = time.perf_counter() - start
            with lock:
                statuses[status] += 1
                if status == _OK:
                    durations.append(took)

    with ThreadPoolExecutor(concurrency) as pool:
        try:
            for future in [pool.submit(send) for _ in range(concurrency)]:
                future.result()
        finally:  # also where the user interrupts
            stopped.set()
    return Measured(time.perf_counter() - begun, statuses, durations)


def _rates(measured: Measured, texts_per_call: int) -> dict[str, float | None]:
    """Return the rates of successful calls, and percentiles of their durations."""
    import numpy as np  # noqa: PLC0415 - as above

    per_second = len(measured.durations) / measured.seconds
    found = np.percentile(measured.durations, PERCENTILES) if measured.durations else ()
    latencies = {
        f"p{percentile}_ms": round(float(value) * 1000, 3)
        for percentile, value in zip(PERCENTILES, found, strict=False)
    }
    return {
        "seconds": round(measured.seconds, 3),
        "texts_per_second": round(per_second * texts_per_call, 1),
        "calls_per_second": round(per_second, 1),
        **latencies,
    }
