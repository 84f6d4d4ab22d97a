# ruff: noqa: D417 - shared flags tell about themselves
"""The commands for score models."""

from semserve.cli.app import SERVER_FLAGS, TEXTS, Files, Model, PairFiles, ServerFlags, TopK, app
from semserve.cli.input_texts import read_pairs, read_texts
from semserve.cli.output import print_results, print_table, shortest, totals
from semserve.cli.similarity_commands import print_ranking


@app.command(group=TEXTS)
def score(
    *pair: str,
    file: PairFiles = (),
    model: Model = "",
    flags: ServerFlags = SERVER_FLAGS,
) -> None:
    """Score two texts, or a single text if the model takes one.

    Args:
        pair: The two texts.
    """
    pairs = read_pairs(pair, file)
    given = [one[0] if len(one) == 1 else (one[0], one[1]) for one in pairs]
    with flags.client() as client:
        found = client.score(given, model=model)
    if flags.output == "table":
        rows = [
            (*one, *[""] * (2 - len(one)), float(number))
            for one, number in zip(pairs, found.scores, strict=True)
        ]
        print_table(["left", "right", "score"], rows, bars="score")
    else:
        results = [
            {**dict(zip(_names(pair), pair, strict=True)), "score": number}
            for pair, number in zip(pairs, shortest(found.scores), strict=True)
        ]
        document = {"model": found.model, "results": results, **totals(found)}
        print_results(flags.output, document, results, "score")


@app.command(group=TEXTS)
def rerank(
    query: str,
    /,
    *documents: str,
    file: Files = (),
    top_k: TopK = None,
    model: Model = "",
    flags: ServerFlags = SERVER_FLAGS,
) -> None:
    """Sort documents by a score model's score of the query and each document, best first.

    Args:
        query: Left text of every pair.
        documents: Texts to sort.
        top_k: Show only this many of the best.
    """
    listed = read_texts(documents, file)
    with flags.client() as client:
        found = client.rerank(query, listed, top_k=top_k, model=model)
    print_ranking(query, found, flags.output)


def _names(pair: tuple[str, ...]) -> tuple[str, ...]:
    return ("text",) if len(pair) == 1 else ("left", "right")
