"""Cases of what is served, and of requests that are refused."""

from __future__ import annotations

from clients.shared_cases.golden import (
    BAD_ADDRESSES,
    CLASSIFIER,
    EMBEDDER,
    LABELS,
    LARGE,
    MAX_TOKENS,
    Case,
    Golden,
    case,
    error,
)


def models(golden: Golden) -> list[Case]:
    text = golden.texts[7]
    encoded = golden.tokenizer.encode(text)
    embedder = {
        "name": EMBEDDER, "task": "embedding", "dimensions": 16, "labels": [],
        "max_sequence_length": MAX_TOKENS, "takes_pairs": False, "state": "ready",
    }  # fmt: skip
    classifier = {
        "name": CLASSIFIER, "task": "classification", "dimensions": 0, "labels": LABELS,
        "max_sequence_length": MAX_TOKENS, "takes_pairs": True, "scores": "softmax",
    }  # fmt: skip
    return [
        case("lists the models", "models", {}, {"models": [embedder, classifier]}),
        case("describes a model", "model", {"model": CLASSIFIER}, {"models": [classifier]}),
        case(
            "says that there is no such model",
            "model",
            {"model": "absent"},
            {"error": error("NOT_FOUND")},
        ),
        case(
            "shows how texts are tokenised",
            "tokenize",
            {"texts": [text], "model": EMBEDDER},
            {
                "results": [
                    {
                        "tokens": encoded.tokens,
                        "ids": encoded.ids,
                        "starts": [start for start, _ in encoded.offsets],
                        "ends": [end for _, end in encoded.offsets],
                        "truncated_tokens": max(0, len(encoded.ids) - MAX_TOKENS),
                    }
                ]
            },
        ),
        case(
            "tells the server's limits and default models",
            "server_info",
            {},
            {
                "limits": {
                    "max_request_texts": 2048,
                    "max_text_bytes": 65_536,
                    "max_request_scores": 1 << 20,
                    "max_message_bytes": 4 << 20,
                },
                "default_models": {"embedding": EMBEDDER, "classification": CLASSIFIER},
                "default_top_k": 10,
                "allow_model_control": False,
            },
        ),
        case("tells that the server is ready", "health", {"model": ""}, {"serving": True}),
        case("tells that a model is ready", "health", {"model": EMBEDDER}, {"serving": True}),
        case(
            "does not know the health of a model that is absent",
            "health",
            {"model": "absent"},
            {"error": error("NOT_FOUND")},
        ),
        case(
            "may not load a model where the server does not allow it",
            "load_model",
            {"model": EMBEDDER},
            {"error": error("PERMISSION_DENIED")},
        ),
    ]


def refused(golden: Golden) -> list[Case]:
    good = golden.texts[0]
    return [
        case(
            "says that there are no texts",
            "embed",
            {"texts": []},
            {"error": error("INVALID_ARGUMENT", "texts")},
        ),
        case(
            "names each text that is bad",
            "embed",
            {"texts": [good, "", good, "a\0b"]},
            {"error": error("INVALID_ARGUMENT", "texts[1]", "texts[3]")},
        ),
        case(
            "says that a model to embed with is absent",
            "embed",
            {"texts": [good], "model": "absent"},
            {"error": error("NOT_FOUND")},
        ),
        case(
            "does not embed with a classifier",
            "embed",
            {"texts": [good], "model": CLASSIFIER},
            {"error": error("INVALID_ARGUMENT", "model")},
        ),
        case(
            "refuses a text that is too long where truncation is off",
            "embed",
            {"texts": [golden.texts[19]], "truncation": "none"},
            {"error": error("INVALID_ARGUMENT", "texts[0]")},
        ),
        case(
            "refuses a request that is larger than a message may be",
            "tokenize",
            {"texts": [LARGE]},
            {"error": {"code": "INVALID_ARGUMENT"}},
        ),
        *(
            case(
                f"refuses the address {address!r}",
                "connect",
                {"address": address},
                {"refused": True},
            )
            for address in BAD_ADDRESSES
        ),
        case("refuses a key with a space", "connect", {"key": "half a key"}, {"refused": True}),
    ]  # fmt: skip
