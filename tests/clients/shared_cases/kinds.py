"""Cases of scores, sparse vectors, prompts and sides, from the formulas of tests/tiny_kinds.py."""

from __future__ import annotations

import numpy as np
import tiny_kinds
from clients.shared_cases.golden import Case, case, error, hits, rounded
from tiny_bundles import VOCABULARY, joined, single


def scores() -> list[Case]:
    left, right = "cat sat", ["a dog", "sea on a bus", "sun"]
    pairs = [[left, one] for one in right]
    logits = [tiny_kinds.ordered_logit(joined(left, one, hypothesis_first=False)) for one in right]
    sigmoids = 1 / (1 + np.exp(-np.array(logits)))
    texts = ["cat sat on", "dog"]
    numbers = [tiny_kinds.ordered_logit(single(text)) for text in texts]
    bad = [pairs[0], [left, ""], pairs[1]]
    return [
        case(
            "scores pairs",
            "score",
            {"pairs": pairs},
            {"model": "tiny-score", "scores": rounded(sigmoids)},
            server="kinds",
        ),
        case(
            "scores single texts",
            "score",
            {"texts": texts, "model": "tiny-regression"},
            {"scores": rounded(numbers)},
            server="kinds",
        ),
        case(
            "scores the good pairs beside the bad with partial",
            "score",
            {"pairs": bad, "partial": True},
            {
                "scores": [rounded(sigmoids)[0], None, rounded(sigmoids)[1]],
                "errors": {"1": error("INVALID_ARGUMENT", "pairs[1].right")},
            },
            server="kinds",
        ),
        case(
            "names the pair that cannot be scored",
            "score",
            {"pairs": bad},
            {"error": error("INVALID_ARGUMENT", "pairs[1].right")},
            server="kinds",
        ),
        case(
            "reranks documents, best first",
            "rerank",
            {"query": left, "documents": right, "top_k": 2},
            {"hits": hits(sigmoids, 2)},
            server="kinds",
        ),
        case(
            "describes a model of scores",
            "model",
            {"model": "tiny-score"},
            {
                "models": [
                    {"name": "tiny-score", "task": "score", "scores": "sigmoid",
                     "takes_pairs": True, "state": "ready"}
                ]
            },
            server="kinds",
        ),
    ]  # fmt: skip


def sparse() -> list[Case]:
    texts = ["cat sat", "dog"]
    return [
        case(
            "embeds texts sparsely",
            "embed_sparse",
            {"texts": texts},
            {"model": "tiny-sparse", "results": [_weights(text) for text in texts]},
            server="kinds",
        ),
        case(
            "keeps the largest weights, and tells their tokens",
            "embed_sparse",
            {"texts": [texts[0], ""], "top_k": 2, "tokens": True, "partial": True},
            {
                "results": [_weights(texts[0], top_k=2, tokens=True), None],
                "errors": {"1": error("INVALID_ARGUMENT", "texts[1]")},
            },
            server="kinds",
        ),
    ]


def _weights(text: str, *, top_k: int | None = None, tokens: bool = False) -> Case:
    weights = tiny_kinds.sparse_weights(text)
    kept = np.flatnonzero(weights)
    if top_k is not None:
        kept = np.sort(kept[np.argsort(-weights[kept], kind="stable")[:top_k]])
    made: Case = {"indices": kept.tolist(), "values": rounded(weights[kept])}
    return made | {"tokens": [VOCABULARY[place] for place in kept]} if tokens else made


def prompts() -> list[Case]:
    model, documents = "tiny-prompted", ["a dog", "cat sat on a mat", "sea"]

    def mean(prompt: str, text: str) -> np.ndarray:
        return tiny_kinds.mean(single(tiny_kinds.PROMPTS[prompt] + text))

    scores = np.array([mean("query", "cat") @ mean("passage", text) for text in documents])
    compared = mean("query", "cat") @ mean("bare", "dog")
    crossed = [[float(mean("query", "cat") @ mean("bare", text))] for text in ("sun", "sea")]
    return [
        *(
            case(
                f"embeds with {output}",
                "embed",
                {"texts": ["cat sat"], "model": model, **given},
                {"vectors": [rounded(mean(prompt, "cat sat"))]},
                server="kinds",
            )
            for output, given, prompt in (
                ("the default prompt", {}, "passage"),
                ("a prompt that is named", {"prompt": "query"}, "query"),
                ("no prompt", {"prompt": ""}, "bare"),
            )
        ),
        case(
            "names the prompt that the model lacks",
            "embed",
            {"texts": ["cat sat"], "model": model, "prompt": "absent"},
            {"error": error("INVALID_ARGUMENT", "prompt_name")},
            server="kinds",
        ),
        case(
            "ranks documents with a prompt of their own",
            "rank",
            {
                "query": "cat", "documents": documents, "model": model,
                "prompt": "query", "document_prompt": "passage",
            },
            {"hits": hits(scores, len(documents))},
            server="kinds",
        ),
        case(
            "compares with another prompt for the right",
            "compare",
            {"pairs": [["cat", "dog"]], "model": model, "prompt": "query", "right_prompt": "bare"},
            {"scores": rounded([compared])},
            server="kinds",
        ),
        case(
            "scores a matrix with another prompt for the right",
            "matrix",
            {
                "left": ["cat"], "right": ["sun", "sea"], "model": model,
                "prompt": "query", "right_prompt": "bare",
            },
            {"rows": [rounded([row[0] for row in crossed])]},
            server="kinds",
        ),
        case(
            "embeds by the encoder of a side",
            "embed",
            {"texts": ["cat sat on"], "model": "tiny-sided", "side": "right"},
            {"vectors": [rounded(tiny_kinds.sided_vector("cat sat on", 1))]},
            server="kinds",
        ),
        case(
            "says that a model with sides wants one",
            "embed",
            {"texts": ["cat sat on"], "model": "tiny-sided"},
            {"error": error("INVALID_ARGUMENT", "side")},
            server="kinds",
        ),
        case(
            "describes prompts and sides",
            "model",
            {"model": model},
            {
                "models": [
                    {"name": model, "task": "embedding", "prompts": tiny_kinds.PROMPTS,
                     "default_prompt": "passage", "sides": []}
                ]
            },
            server="kinds",
        ),
    ]  # fmt: skip
