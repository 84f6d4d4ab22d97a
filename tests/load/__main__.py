"""The command `python -m load`: measures, prints each figure with its bar, writes the results."""

from __future__ import annotations

import signal
import sys
from typing import Annotated

import cyclopts
import grpc
from cyclopts import Parameter
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from semserve.errors import SemserveError

from load import picture, report
from load.bench import Bench, worker_process
from load.figure import Figure
from load.parts import PARTS
from load.process import StartError
from load.record import LoadError
from load.servers import grpcio, mlserver
from load.settings import Settings
from load.texts import read_texts

COLOURS = {"PASS": "green", "MISS": "red", "FAIL": "red", "SKIP": "yellow", "INFO": "white"}

FAILURES = LoadError, StartError, grpc.RpcError, SemserveError

app = cyclopts.App(
    name="load",
    help="Measure semserve beside its peers and beside the bare runtime.",
    config=cyclopts.config.Env("SEMSERVE_", command=False),
    version_flags=(),
)


@app.default
def run(settings: Annotated[Settings | None, Parameter(name="*")] = None) -> int:
    """Run the parts; the exit code is 1 where one of them failed, whatever the figures are."""
    try:
        settings = (settings or Settings()).of_its_length()
    except ValueError as error:
        print(error)
        return 2
    unknown = set(settings.only) - set(PARTS)
    if unknown:
        print(f"there is no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
        return 2
    # Servers are ended on the way out, so whoever ends the bench must let it go that way.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if settings.install_mlserver:
        mlserver.install(settings.mlserver)
    if settings.install_grpcio:
        grpcio.install(settings.grpcio)
    console = Console()
    texts = read_texts(settings.texts, settings.text_count)
    console.print(f"{report.machine()}\ntexts: {texts.source}")
    figures: list[Figure] = []
    with _progress(console) as progress, worker_process() as client, worker_process() as beside:
        chosen = settings.only or tuple(part for part in PARTS if settings.full or part != "base")
        task = progress.add_task("", total=len(chosen))
        bench = Bench(
            settings, texts, client, beside, lambda what: progress.update(task, description=what)
        )
        for part in chosen:
            try:
                bench.measure_peak()
                found = PARTS[part](bench)
            except FAILURES as error:
                found = [Figure(name=part, failed=str(error))]
            figures += found
            progress.advance(task)
            for figure in found:
                progress.console.print(_line(figure), highlight=False)
    written = [*report.write(bench, figures), *picture.draw(bench)]
    console.print("written:", ", ".join(str(path) for path in written))
    return int(any(figure.failed for figure in figures))


def _progress(console: Console) -> Progress:
    columns = TextColumn("{task.description}"), BarColumn(20), MofNCompleteColumn()
    return Progress(*columns, TimeElapsedColumn(), console=console, transient=True)


def _line(figure: Figure) -> str:
    """One line for a figure, and below it how it came about."""
    bar = f", {figure.bar_text}" if figure.bar_text else ""
    line = f"[{COLOURS[figure.verdict]}]{figure.verdict}[/] {figure.name}: "
    line += escape(f"{figure.value_text}{bar}")
    return f"{line}\n     [dim]{escape(figure.detail)}[/]" if figure.detail else line


if __name__ == "__main__":
    sys.exit(app())
