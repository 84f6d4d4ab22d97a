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
from semserve.cli.output import (
    Format,
    print_matrix,
    print_results,
    print_table,
    shortest,
    totals,
)

if TYPE_CHECKING:
    from semserve import Hit, Ranking, Scores

_PICTURES = (".png", ".svg", ".pdf")
MOST_COLUMNS = 40
"""Most sentences of a matrix that is printed as a table."""


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
    if flags.output == "table":
        rows = [(*one, float(score)) for one, score in zip(pairs, found.scores, strict=True)]
        print_table(["left", "right", "score"], rows, bars="score")
    else:
        results = [
            {"left": left, "right": right, "score": score}
            for (left, right), score in zip(pairs, shortest(found.scores), strict=True)
        ]
        document = {"model": found.model, "results": results, **totals(found)}
        print_results(flags.output, document, results, "score")


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
    print_ranking(query, found, flags.output)


@app.command(group=SIMILARITY)
def heatmap(
    *sentences: str,
    to: Path | None = None,
    file: Files = (),
    model: Model = "",
    metric: Metric = None,
    prompt_name: PromptName = None,
    flags: ServerFlags = SERVER_FLAGS,
) -> None:
    """Show or draw the similarity matrix of sentences.

    Args:
        sentences: Sentences of the rows and columns.
        to: Picture to write: PNG, SVG or PDF by its suffix. Without it, the scores are printed.
    """
    if to is not None:
        _check_picture(to)
    listed = read_texts(sentences, file)
    if to is None and flags.output == "table" and len(listed) > MOST_COLUMNS:
        advice = "draw them with --to map.png, or print them with --output csv"
        raise UsageError(f"{len(listed)} sentences, a table has {MOST_COLUMNS}: {advice}")
    with flags.client() as client:
        found = client.matrix(listed, model=model, metric=metric, prompt_name=prompt_name)
    if to is not None:
        _draw(found, listed, to, f"{metric or 'similarity'} by {found.model}")
    if flags.output != "table":
        scores = [shortest(row) for row in found.scores]
        document = {"model": found.model, "texts": listed, "scores": scores, **totals(found)}
        if to is not None:
            document["to"] = str(to)
        rows = [{"text": text, "scores": row} for text, row in zip(listed, scores, strict=True)]
        print_results(flags.output, document, rows, "scores")
    elif to is None:
        print_matrix(listed, found.scores)
    else:
        print(to)


def _check_picture(to: Path) -> None:
    if to.suffix.lower() not in _PICTURES:
        raise UsageError(f"{to}: end its name with one of {', '.join(_PICTURES)}")
    try:
        import matplotlib  # noqa: F401, ICN001, PLC0415 - large and optional
    except ImportError as error:
        raise CommandError(f"{error}; pip install 'semserve[heatmap]' brings it") from error


def _draw(found: "Scores", sentences: Sequence[str], to: Path, title: str) -> None:
    from semserve.cli.heatmap import draw  # noqa: PLC0415 - likewise

    try:
        draw(found.scores, sentences, to, title)
    except OSError as error:
        raise UsageError(f"{to}: {error.strerror}") from error


def _two(pair: Sequence[str]) -> tuple[str, str]:
    if len(pair) == 1:
        raise UsageError(f"only one text to compare: {pair[0]}")
    return pair[0], pair[1]


def print_ranking(query: str, found: "Ranking", form: Format) -> None:
    """Print the documents of a query, best first."""
    if form == "table":
        rows = [(hit.score, hit.index, hit.text) for hit in found]
        print_table(["score", "index", "document"], rows, bars="score")
    else:
        hits = hit_list(found)
        document = {"model": found.model, "query": query, "hits": hits, **totals(found)}
        print_results(form, document, hits, "text")


def hit_list(hits: "Iterable[Hit]") -> list[dict[str, object]]:
    """Return hits as JSON values."""
    return [{"index": h.index, "score": shortest([h.score])[0], "text": h.text} for h in hits]
