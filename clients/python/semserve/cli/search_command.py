# ruff: noqa: D417 - shared flags tell about themselves
"""The command `semserve search`: queries over a file, whose vectors are kept."""

import hashlib
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from semserve.cli.app import (
    QUERY_PROMPTS,
    SERVER_FLAGS,
    SIMILARITY,
    Files,
    Metric,
    Model,
    QueryPromptFlags,
    ServerFlags,
    TopK,
    app,
)
from semserve.cli.bulk_commands import chosen_model, file_failures, row_bar
from semserve.cli.command_error import UsageError
from semserve.cli.input_texts import STANDARD_INPUT, read_lines, read_texts
from semserve.cli.output import print_results, print_table, totals
from semserve.cli.similarity_commands import hit_list

if TYPE_CHECKING:
    from semserve import Client, Hit, Usage
    from semserve.calls.models import ModelInfo
    from semserve.requests.values import Side

DEFAULT_TOP_K = 10


class Found(NamedTuple):
    """The hits of each query, and the name of the model and the cost of the call."""

    model: str
    hits: "Sequence[Sequence[Hit]]"
    usage: "Usage"
    truncated_tokens: int


@app.command(group=SIMILARITY)
def search(
    *queries: str,
    corpus: Path,
    file: Files = (),
    top_k: TopK = DEFAULT_TOP_K,
    model: Model = "",
    metric: Metric = None,
    prompts: QueryPromptFlags = QUERY_PROMPTS,
    flags: ServerFlags = SERVER_FLAGS,
) -> None:
    """Find the texts of a corpus that are most similar to each query.

    The first search of a file embeds its texts, and keeps their vectors in the user's cache
    directory; further searches embed only the queries. A file of more than 20,000 texts has an
    approximate index, which needs the package usearch.

    Args:
        queries: The queries.
        corpus: File of texts to search, of a format of `semserve embed --to`; - is standard input.
            The vectors of standard input and of pipes are not kept.
        top_k: Hits for each query.
    """
    query_texts = read_texts(queries, file)
    wanted = top_k or DEFAULT_TOP_K
    kept = str(corpus) != STANDARD_INPUT and corpus.is_file()
    searched = [] if kept else list(read_lines(str(corpus)))
    if not kept and not searched:
        raise UsageError(f"--corpus {corpus}: no text in it".replace(STANDARD_INPUT, "-"))
    with flags.client() as client, file_failures():
        if kept:
            info = chosen_model(client, model, "embedding")
            found = _search_file(client, info, query_texts, corpus, wanted, metric, prompts)
        else:
            options = {"model": model, "metric": metric, **asdict(prompts)}
            answer = client.search(query_texts, searched, top_k=wanted, **options)
            found = Found(answer.model, answer.results, answer.usage, answer.truncated_tokens)
    _show(query_texts, found, flags)


def _show(queries: Sequence[str], found: Found, flags: ServerFlags) -> None:
    pairs = list(zip(queries, found.hits, strict=True))
    if flags.output == "table":
        rows = [(query, hit.score, hit.index, hit.text) for query, hits in pairs for hit in hits]
        print_table(["query", "score", "line", "text"], rows, bars="score")
    else:
        results = [{"query": query, "hits": hit_list(hits)} for query, hits in pairs]
        document = {"model": found.model, "results": results, **totals(found)}
        every = [{"query": query, **hit} for query, hits in pairs for hit in hit_list(hits)]
        print_results(flags.output, document, every, "text")


def _search_file(
    client: "Client",
    model: "ModelInfo",
    queries: Sequence[str],
    corpus: Path,
    top_k: int,
    metric: str | None,
    prompts: QueryPromptFlags,
) -> Found:
    """Search a file by its vectors, which are computed if they are not in the cache.

    Raises:
        UsageError: the file has no text.
        FileError: the file is not valid, or a package is missing.
    """
    from semserve import Hit  # noqa: PLC0415 - --help needs no gRPC
    from semserve.bulk.corpus_index import (  # noqa: PLC0415 - likewise no numpy
        EXACT_ROWS,
        check_usearch,
        discard_oldest,
        nearest,
        needs_index,
    )
    from semserve.bulk.records import read_records  # noqa: PLC0415 - likewise

    rows = sum(1 for _ in islice(read_records(corpus), EXACT_ROWS + 1))
    if not rows:
        raise UsageError(f"--corpus {corpus}: no text in it")
    used = metric or model.metric or "cosine"
    if needs_index(rows, used):
        check_usearch()
    prompt = prompts.document_prompt_name
    prompt = prompts.prompt_name if prompt is None else prompt
    sides: tuple[Side | None, Side | None] = ("left", "right") if model.sides else (None, None)
    vectors = _vectors(client, model, corpus, {"prompt_name": prompt, "side": sides[1]})
    embedded = client.embed(
        queries, model=model.name, prompt_name=prompts.prompt_name, side=sides[0]
    )
    best = nearest(vectors, embedded.vectors, used, top_k)
    discard_oldest(vectors.parent)
    texts = _texts_at(corpus, {int(row) for found, _ in best for row in found})
    hits = [
        [Hit(int(row), float(score), texts[int(row)]) for row, score in zip(*found, strict=True)]
        for found in best
    ]
    truncated = int(embedded.truncated_tokens.sum())
    return Found(embedded.model, hits, embedded.usage, truncated)


def _vectors(client: "Client", model: "ModelInfo", corpus: Path, options: dict[str, Any]) -> Path:
    """Return the file with the vectors of a corpus, and compute it if it is not there."""
    from semserve.bulk.job import Job  # noqa: PLC0415 - as above
    from semserve.bulk.journal import digest  # noqa: PLC0415 - likewise
    from semserve.bulk.records import DEFAULT_COLUMNS  # noqa: PLC0415 - likewise
    from semserve.bulk.rows_of import vector_rows, vector_shape  # noqa: PLC0415 - likewise

    source = corpus.resolve()
    key = [digest(source), str(source), model.name, model.digest, options]
    name = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]
    file = _cache_folder() / f"{name}.npy"
    if file.exists():
        file.touch()
        return file
    sent = {**options, "model": model.name, "allow_partial": True}
    job = Job(
        inputs=[source],
        columns=DEFAULT_COLUMNS,
        output=file,
        shape=vector_shape(model.dimensions),
        settings={},  # the name of the file is made of them
        stream=lambda batches: client.stream_embed(batches, **sent),
        rows=partial(vector_rows, model.dimensions),
    )
    with row_bar(corpus.name, [source]) as progress:
        done = job.run(progress, lambda _rows: None)
    if done.failed:
        line = f"semserve: {corpus}: {done.failed} invalid texts are left out"
        print(line, file=sys.stderr, flush=True)  # noqa: T201 - a command prints
    return file


def _cache_folder() -> Path:
    """Create the directory of the vectors. XDG_CACHE_HOME counts if it is absolute.

    https://specifications.freedesktop.org/basedir-spec/latest/

    Raises:
        UsageError: it cannot be created.
    """
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    advice = "set XDG_CACHE_HOME to a directory that can be written"
    try:
        base = named if named.is_absolute() else Path.home() / ".cache"
    except RuntimeError as error:
        raise UsageError(f"the user has no home directory; {advice}") from error
    folder = base / "semserve" / "search"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder}: {error.strerror}; {advice}") from error
    return folder


def _texts_at(corpus: Path, rows: set[int]) -> dict[int, str]:
    """Return the texts of some rows."""
    from semserve.bulk.records import read_records  # noqa: PLC0415 - as above

    records = islice(read_records(corpus), max(rows, default=-1) + 1)
    return {row: record.texts[0] for row, record in enumerate(records) if row in rows}
