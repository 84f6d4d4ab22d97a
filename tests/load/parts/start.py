"""From the command to SERVING, with a bundle whose files are in the page cache."""

from __future__ import annotations

from load.bench import Bench
from load.figure import Figure, of_rounds

BAR_SECONDS = 2.5


def measure(bench: Bench) -> list[Figure]:
    """Return the seconds that a start takes."""
    seconds = []
    for _ in range(bench.settings.rounds + 1):
        bench.tell("start: to SERVING")
        with bench.semserve(bench.embedder, variant=bench.variant) as server:
            seconds.append(server.facts["seconds_to_serving"])
    # The first start may read the bundle from the disk, and warms it.
    return [
        Figure(
            name="start to SERVING with a warm bundle",
            unit="s",
            bar=BAR_SECONDS,
            at_least=False,
            **of_rounds(seconds[1:]),
        )
    ]
