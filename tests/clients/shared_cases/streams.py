"""Cases of streams, deadlines, cancellation, overload, and servers that go away."""

from __future__ import annotations

from clients.shared_cases.golden import LARGE, Case, Golden, case, error


def streams(golden: Golden) -> list[Case]:
    texts = golden.texts[:5]
    vectors = golden.embedded(texts)["vectors"]
    pairs = golden.pairs[:4]
    scores = golden.classified([0, 1, 2, 3])["scores"]
    return [
        case(
            "answers a stream by the ids of its requests, the bad one too",
            "stream_embed",
            {
                "requests": [
                    {"id": "first", "texts": texts[:2]},
                    {"id": "bad", "texts": [texts[0], ""]},
                    {"id": "", "texts": texts[2:3]},
                    {"id": "last", "texts": texts[3:5]},
                ]
            },
            {
                "answers": {
                    "first": {"vectors": vectors[:2]},
                    "bad": {"error": error("INVALID_ARGUMENT", "texts[1]")},
                    "": {"vectors": vectors[2:3]},
                    "last": {"vectors": vectors[3:5]},
                }
            },
        ),
        case(
            "classifies a stream",
            "stream_classify",
            {
                "requests": [
                    {"id": "a", "pairs": pairs[:3]},
                    {"id": "b", "pairs": [["only a premise"]]},
                    {"id": "c", "pairs": pairs[3:]},
                ]
            },
            {
                "answers": {
                    "a": {"scores": scores[:3]},
                    "b": {"error": error("INVALID_ARGUMENT", "pairs[0].hypothesis")},
                    "c": {"scores": scores[3:]},
                }
            },
        ),
        case(
            "answers a stream without requests", "stream_embed", {"requests": []}, {"answers": {}}
        ),
        case(
            "reads a stream of many requests no further ahead than asked",
            "stream_embed",
            {"generate": {"count": 500, "texts": texts}, "in_flight": 4},
            {"count": 500, "vectors": vectors, "max_ahead": 6},
        ),
        case(
            "refuses a request of a stream that is larger than a message may be, and that alone",
            "stream_embed",
            {
                "requests": [
                    {"id": "large", "texts": [LARGE]},
                    {"id": "small", "texts": texts[:1]},
                ]
            },
            {
                "answers": {
                    "large": {"error": {"code": "INVALID_ARGUMENT"}},
                    "small": {"vectors": vectors[:1]},
                }
            },
        ),
        case(
            "stops reading a stream that is left",
            "stream_embed",
            {"generate": {"count": 100_000, "texts": texts}, "in_flight": 4, "leave_after": 10},
            {"vectors": vectors, "max_ahead": 6},
        ),
    ]


def endings(golden: Golden) -> list[Case]:
    texts = golden.texts[:1]
    return [
        case(
            "ends a call at its deadline",
            "embed",
            {"texts": texts, "timeout_s": 0.3},
            {"error": {"code": "DEADLINE_EXCEEDED"}},
            server="silent",
        ),
        case(
            "ends a stream at its deadline",
            "stream_embed",
            {"requests": [{"id": "a", "texts": texts}], "timeout_s": 0.3},
            {"error": {"code": "DEADLINE_EXCEEDED"}},
            server="silent",
        ),
        case(
            "ends a call that is cancelled",
            "embed",
            {"texts": texts, "cancel": True},
            {"cancelled": True},
            server="silent",
        ),
        case(
            "ends a stream that is cancelled",
            "stream_embed",
            {"requests": [{"id": "a", "texts": texts}], "cancel": True},
            {"cancelled": True},
            server="silent",
        ),
        case(
            "says that nobody answers",
            "embed",
            {"texts": texts, "timeout_s": 20},
            {"error": {"code": "UNAVAILABLE"}},
            server="nobody",
        ),
    ]


def secured(golden: Golden) -> list[Case]:
    """These spend a key's tokens a second, so their order and their number count."""
    text, long = golden.texts[0], golden.texts[19]
    good, spent = golden.embedded([text]), golden.embedded([long])["vectors"][0]
    return [
        case(
            "refuses a caller without a key over TLS",
            "embed",
            {"texts": [text], "key": ""},
            {"error": {"code": "UNAUTHENTICATED"}},
            server="secured",
        ),
        case(
            "spends more tokens with a key over TLS than come in a second",
            "embed",
            {"texts": [{"text": long, "copies": 3}]},
            {"count": 3, "each": spent},
            server="secured",
        ),
        case(
            "does not wait past the deadline for an overloaded server",
            "embed",
            {"texts": [text], "timeout_s": 0.5},
            {"error": {"code": "RESOURCE_EXHAUSTED", "retry_after_s": [0.5, 3]}},
            server="secured",
        ),
        case(
            "waits as long as an overloaded server asks",
            "embed",
            {"texts": [text]},
            {"vectors": good["vectors"]},
            server="secured",
        ),
        case(
            "spends the key's tokens again",
            "embed",
            {"texts": [{"text": long, "copies": 2}]},
            {"count": 2, "each": spent},
            server="secured",
        ),
        case(
            "sends a request of a stream again when an overloaded server asks",
            "stream_embed",
            {"requests": [{"id": "a", "texts": [text]}, {"id": "b", "texts": [text]}]},
            {"answers": {"a": {"vectors": good["vectors"]}, "b": {"vectors": good["vectors"]}}},
            server="secured",
        ),
    ]


def failover(golden: Golden) -> list[Case]:
    texts = golden.texts[:5]
    vectors = golden.embedded(texts)["vectors"]
    return [
        case(
            "fails no call where one of two servers is killed",
            "failover_calls",
            {"texts": texts, "count": 400, "at_once": 4, "stop": "first", "stop_after": 100},
            {"vectors": vectors},
            server="first+tiny",
        ),
        case(
            "fails no stream where one of two servers is killed",
            "failover_streams",
            {"texts": texts, "count": 200, "at_once": 4, "stop": "second", "stop_after": 100},
            {"vectors": vectors},
            server="second+tiny",
        ),
    ]
