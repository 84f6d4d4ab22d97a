# ruff: noqa: D417, T201 - shared flags tell about themselves; a command speaks by printing
"""The commands for similarity."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from semserve.cli.app import (
    QUERY_PROMPTS,
    SERVER_FLAGS,
    SIMILARITY,
    Files,
    Metric,
    Model,
    PairFiles,
    PromptName,
    QueryPromptFlags,
    ServerFlags,
    TopK,
    app,
)
from semserve.cli.command_error import CommandError, UsageError
from semserve.cli.input_texts import read_pairs, read_texts
from semserve.cli.output import print_json, print_table, shortest, usage_document

if TYPE_CHECKING:
    from semserve import Hit

_PICTURES = (".png", ".svg", ".pdf")


@app.command(group=SIMILARITY)
def compare(
    *pair: str,
    file: PairFiles = (),
    model: Model = "",
    metric: Metric = None,
    prompt_name: PromptName = None,
    flags: ServerFlags = SERVER_FLAGS,
) -> None:
    """Compute the similarity of two texts.

    Args:
        pair: The two texts.
    """
    pairs = [_two(one) for one in read_pairs(pair, file)]
    with flags.client() as client:
        found = client.compare(pairs, model=model, metric=metric, prompt_name=prompt_name)
    if flags.output == "json":
        results = [
            {"left": left, "right": right, "score": score}
            for (left, right), score in zip(pairs, shortest(found.scores), strict=True)
        ]
        print_json({"model": found.model, "results": results, "usage": usage_document(found.usage)})
    else:
        rows = [(*one, float(score)) for one, score in zip(pairs, found.scores, strict=True)]
        print_table(["left", "right", "score"], rows)


@app.command(group=SIMILARITY)
def rank(
    query: str,
    /,
    *documents: str,
    file: Files = (),
    top_k: TopK = None,
    model: Model = "",
    metric: Metric = None,
    prompts: QueryPromptFlags = QUERY_PROMPTS,
    flags: ServerFlags = SERVER_FLAGS,
) -> None:
    """Sort documents by their similarity to a query, best first.

    Args:
        query: The query.
        documents: Texts to sort.
        top_k: Show only this many of the best.
    """
    listed = read_texts(documents, file)
    with flags.client() as client:
        found = client.rank(
            query,
            listed,
            top_k=top_k,
            model=model,
            metric=metric,
            **asdict(prompts),
        )
    if flags.output == "json":
        document = {"model": found.model, "query": query, "hits": hit_list(found)}
        print_json(document | {"usage": usage_document(found.usage)})
    else:
        print_table(["score", "index", "document"], [(h.score, h.index, h.text) for h in found])


@app.command(group=SIMILARITY)
def heatmap(
    *sentences: str,
    to: Path,
    file: Files = (),
    model: Model = "",
    metric: Metric = None,
    prompt_name: PromptName = None,
    flags: ServerFlags = SERVER_FLAGS,
) -> None:
    """Draw the similarity matrix of sentences.

    Args:
        sentences: Sentences of the rows and columns.
        to: Picture to write: PNG, SVG or PDF by its suffix.
    """
    if to.suffix.lower() not in _PICTURES:
        raise UsageError(f"{to}: end its name with one of {', '.join(_PICTURES)}")
    listed = read_texts(sentences, file)
    try:
        from semserve.cli.heatmap import draw  # noqa: PLC0415 - matplotlib is large and optional
    except ImportError as error:
        raise CommandError(f"{error}; pip install 'semserve[heatmap]' brings it") from error
    with flags.client() as client:
        found = client.matrix(listed, model=model, metric=metric, prompt_name=prompt_name)
    try:
        draw(found.scores, listed, to, title=f"{metric or 'similarity'} by {found.model}")
    except OSError as error:
        raise UsageError(f"{to}: {error.strerror}") from error
    if flags.output == "json":
        scores = [shortest(row) for row in found.scores]
        document = {"model": found.model, "texts": listed, "scores": scores, "to": str(to)}
        print_json(document | {"usage": usage_document(found.usage)})
    else:
        print(to)


def _two(pair: Sequence[str]) -> tuple[str, str]:
    if len(pair) == 1:
        raise UsageError(f"only one text to compare: {pair[0]}")
    return pair[0], pair[1]


def hit_list(hits: "Iterable[Hit]") -> list[dict[str, object]]:
    """Return hits as JSON values."""
    return [{"index": h.index, "score": shortest([h.score])[0], "text": h.text} for h in hits]
