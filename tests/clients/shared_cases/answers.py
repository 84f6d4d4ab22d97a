"""Cases of vectors, labels and similarities that the tiny bundles answer."""

from __future__ import annotations

import numpy as np
from clients.shared_cases.golden import (
    EMBEDDER,
    Case,
    Golden,
    case,
    error,
    hits,
    rounded,
)


def embedding(golden: Golden) -> list[Case]:
    some = [golden.texts[place] for place in (0, 1, 3, 7, 8, 12)]
    long, short = golden.texts[19], golden.texts[0]
    rows = golden.rows(some[:3])
    cut = rows[:, :8] / np.linalg.norm(rows[:, :8], axis=1, keepdims=True)
    encodings = (("values", 1e-5), ("float32", 1e-5), ("float16", 1e-3), ("int8", 5e-3))
    return [
        case("embeds texts as Keras does", "embed", {"texts": some}, golden.embedded(some)),
        case(
            "embeds by a model that is named",
            "embed",
            {"texts": [short], "model": EMBEDDER},
            golden.embedded([short]),
        ),
        case(
            "tells the tokens that truncation dropped",
            "embed",
            {"texts": [short, long]},
            golden.embedded([short, long]),
        ),
        case(
            "cuts vectors to the dimensions that are asked for",
            "embed",
            {"texts": some[:3], "dimensions": 8, "normalize": True},
            {"vectors": [rounded(row) for row in cut]},
        ),
        *(
            case(
                f"reads vectors that travel as {encoding}",
                "embed",
                {"texts": some[:2], "encoding": encoding},
                {"vectors": golden.embedded(some[:2])["vectors"], "tolerance": tolerance},
            )
            for encoding, tolerance in encodings
        ),
        case(
            "answers the good texts beside the bad with partial",
            "embed",
            {"texts": [short, "", some[1]], "partial": True},
            {
                "vectors": [*golden.embedded([short])["vectors"], None,
                            *golden.embedded([some[1]])["vectors"]],
                "errors": {"1": error("INVALID_ARGUMENT", "texts[1]")},
            },
        ),
    ]  # fmt: skip


def classification(golden: Golden) -> list[Case]:
    places = [0, 1, 2, 10, 15]
    pairs = [golden.pairs[place] for place in places]
    bad = [pairs[0], ["only a premise"], pairs[1]]
    good = golden.classified(places[:2])
    return [
        case(
            "classifies pairs as Keras does",
            "classify",
            {"pairs": pairs},
            golden.classified(places),
        ),
        case(
            "names the pair that lacks a hypothesis",
            "classify",
            {"pairs": bad},
            {"error": error("INVALID_ARGUMENT", "pairs[1].hypothesis")},
        ),
        case(
            "classifies the good pairs beside the bad with partial",
            "classify",
            {"pairs": bad, "partial": True},
            {
                "labels": [good["labels"][0], None, good["labels"][1]],
                "scores": [good["scores"][0], None, good["scores"][1]],
                "errors": {"1": error("INVALID_ARGUMENT", "pairs[1].hypothesis")},
            },
        ),
    ]


def similarity(golden: Golden) -> list[Case]:
    left, right = golden.texts[:4], golden.texts[4:9]
    query, documents = golden.texts[3], golden.texts[4:9]
    a, b = golden.rows(left), golden.rows(right)
    cosine = a @ b.T
    distances = -np.linalg.norm(a[:, None] - b[None], axis=2)
    pairs = list(zip(left, right[:4], strict=True))
    short, long = golden.texts[0], golden.texts[19]
    both = golden.rows([short, long])
    angles, totals = both @ both.T, golden.totals([short, long])
    counts = "tells the model, the tokens and those that truncation dropped"
    return [
        case(
            "compares pairs",
            "compare",
            {"pairs": pairs},
            {"scores": rounded(np.diag(cosine))},
        ),
        case(
            "compares by a metric that is named",
            "compare",
            {"pairs": pairs, "metric": "euclidean"},
            {"scores": rounded(np.diag(distances))},
        ),
        case(
            "ranks documents, best first",
            "rank",
            {"query": query, "documents": documents},
            {"hits": hits(cosine[3], len(documents))},
        ),
        case(
            "ranks no more documents than asked for",
            "rank",
            {"query": query, "documents": documents, "top_k": 2, "metric": "dot"},
            {"hits": hits(cosine[3], 2)},
        ),
        case(
            "searches a corpus for each query",
            "search",
            {"queries": left, "corpus": right, "top_k": 3},
            {"results": [hits(row, 3) for row in cosine]},
        ),
        case(
            "scores every text against every other",
            "matrix",
            {"left": left, "right": right},
            {"rows": [rounded(row) for row in cosine]},
        ),
        case(
            "scores a list against itself where no other is given",
            "matrix",
            {"left": left},
            {"rows": [rounded(row) for row in a @ a.T]},
        ),
        case(
            "reads an answer of more than 4 MiB",
            "matrix",
            {"left": [{"text": query, "copies": 1024}]},
            {"count": 1024, "each_score": 1.0},
        ),
        case(
            f"compares and {counts}",
            "compare",
            {"pairs": [[long, short], [short, long]]},
            {"scores": rounded([angles[1, 0], angles[0, 1]]), **totals},
        ),
        case(
            f"ranks and {counts}",
            "rank",
            {"query": short, "documents": [long, short]},
            {"hits": hits(angles[0, ::-1], 2), **totals},
        ),
        case(
            f"searches and {counts}",
            "search",
            {"queries": [short], "corpus": [short, long]},
            {"results": [hits(angles[0], 2)], **totals},
        ),
        case(
            f"scores a matrix and {counts}",
            "matrix",
            {"left": [short, long]},
            {"rows": [rounded(row) for row in angles], **totals},
        ),
        case(
            "names the documents that are missing",
            "rank",
            {"query": query, "documents": []},
            {"error": error("INVALID_ARGUMENT", "documents")},
        ),
    ]
