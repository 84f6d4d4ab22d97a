"""Texts that are most like a text: `rank` and `search` of SimilarityService, and their answers.

A corpus longer than one request may be is cut into parts. The best hits of each part hold the
best of all, so putting them together is exact and needs no vector on this side.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from typing import TypedDict, Unpack

from semserve.connection.reply import Reply
from semserve.requests.inputs import as_texts, as_top_k, check_text
from semserve.requests.values import (
    MAX_REQUEST_BYTES,
    METRIC,
    Chunk,
    Metric,
    Usage,
    chunks,
    text_bytes,
    usage,
)
from semserve.requests.work import Method, Part, Work
from semserve.v1 import similarity_pb2

RANK = Method(
    "/semserve.v1.SimilarityService/Rank",
    similarity_pb2.RankRequest,
    similarity_pb2.RankResponse,
)
SEARCH = Method(
    "/semserve.v1.SimilarityService/Search",
    similarity_pb2.SearchRequest,
    similarity_pb2.SearchResponse,
)
# What the server answers a search with where the request does not say.
DEFAULT_TOP_K = 10


@dataclass(frozen=True, slots=True)
class Hit:
    """One text that was found.

    Attributes:
        index: its place, from 0, in the list that was searched.
        score: its score; higher is more similar.
        text: the text itself.
    """

    index: int
    score: float
    text: str


@dataclass(frozen=True, slots=True)
class Ranking(Reply):
    """What `rank` found, best first.

    Attributes:
        model: name of the model that answered.
        hits: the documents, best first; equal scores in the order of the documents.
        usage: what the call cost.
        truncated_tokens: tokens that truncation dropped, of each different text of a request once.
    """

    model: str
    hits: tuple[Hit, ...]
    usage: Usage
    truncated_tokens: int = 0

    def __len__(self) -> int:
        return len(self.hits)

    def __getitem__(self, place: int) -> Hit:
        return self.hits[place]

    def __iter__(self) -> Iterator[Hit]:
        return iter(self.hits)


@dataclass(frozen=True, slots=True)
class SearchResults(Reply):
    """What `search` found for each query.

    Attributes:
        model: name of the model that answered.
        results: one tuple of hits a query, best first, in the order of the queries.
        usage: what the call cost.
        truncated_tokens: tokens that truncation dropped, of each different text of a request once.
    """

    model: str
    results: tuple[tuple[Hit, ...], ...]
    usage: Usage
    truncated_tokens: int = 0

    def __len__(self) -> int:
        return len(self.results)

    def __getitem__(self, place: int) -> tuple[Hit, ...]:
        return self.results[place]

    def __iter__(self) -> Iterator[tuple[Hit, ...]]:
        return iter(self.results)


class QueryPrompts(TypedDict, total=False):
    """Which prompts of the model are put before texts; left out, its default one.

    Attributes:
        prompt_name: of all texts; empty for none.
        document_prompt_name: of the documents or the corpus, where theirs is another.
    """

    prompt_name: str | None
    document_prompt_name: str | None


def rank(
    query: str,
    documents: Iterable[str],
    model: str,
    metric: Metric | None,
    top_k: int | None,
    chunk: int,
    **prompts: Unpack[QueryPrompts],
) -> Work[Ranking]:
    """Make the work of ranking documents, in requests of at most `chunk` texts."""
    check_text(query, "query")
    top_k = as_top_k(top_k)
    cut = chunks(as_texts(documents, "documents"), max(chunk - 1, 1), text_bytes)
    parts = [
        Part(
            similarity_pb2.RankRequest(
                model=model,
                query=query,
                documents=part,
                top_k=top_k,
                metric=METRIC.number(metric),
                **prompts,
            ),
            len(part),
            {"documents": start},
        )
        for start, part in cut
    ]

    def read(
        request: similarity_pb2.RankRequest,
        response: similarity_pb2.RankResponse,
    ) -> Ranking:
        return Ranking(
            response.model,
            found_hits(response.hits, request.documents),
            usage(response.usage),
            response.truncated_tokens,
        )

    return Work(parts, RANK, read, lambda rankings: joined_rankings(cut, rankings, top_k))


def joined_rankings(
    parts: Sequence[Chunk[str]], rankings: Sequence[Ranking], top_k: int | None
) -> Ranking:
    """Make one ranking of those of the parts of a list of documents."""
    hits = _best(zip(parts, (ranking.hits for ranking in rankings), strict=True), top_k)
    return Ranking(
        rankings[0].model,
        hits,
        reduce(add, (one.usage for one in rankings)),
        sum(one.truncated_tokens for one in rankings),
    )


def search(
    queries: Iterable[str],
    corpus: Iterable[str],
    model: str,
    metric: Metric | None,
    top_k: int | None,
    chunk: int,
    **prompts: Unpack[QueryPrompts],
) -> Work[SearchResults]:
    """Make the work of searching a corpus, in requests of at most `chunk` texts.

    A request carries queries and corpus. Queries take at most a quarter of it, so that a
    corpus of many requests is embedded once for every so many queries.
    """
    top_k = as_top_k(top_k)
    most_bytes = MAX_REQUEST_BYTES // 4
    asked = chunks(as_texts(queries, "queries"), max(chunk // 4, 1), text_bytes, most_bytes)
    room = max(chunk - len(asked[0].items), 1)
    most_bytes = MAX_REQUEST_BYTES - most_bytes
    searched = chunks(as_texts(corpus, "corpus"), room, text_bytes, most_bytes)
    parts = [
        Part(
            similarity_pb2.SearchRequest(
                model=model,
                queries=some_queries.items,
                corpus=some_corpus.items,
                top_k=top_k,
                metric=METRIC.number(metric),
                **prompts,
            ),
            len(some_corpus.items),
            {"queries": some_queries.start, "corpus": some_corpus.start},
        )
        for some_queries in asked
        for some_corpus in searched
    ]

    def read(
        request: similarity_pb2.SearchRequest,
        response: similarity_pb2.SearchResponse,
    ) -> SearchResults:
        results = tuple(found_hits(result.hits, request.corpus) for result in response.results)
        cost = usage(response.usage)
        return SearchResults(response.model, results, cost, response.truncated_tokens)

    def join(found: Sequence[SearchResults]) -> SearchResults:
        # Queries by queries, each with its hits from every part of the corpus.
        per_queries = range(0, len(found), len(searched))
        results = tuple(
            _best(zip(searched, hits, strict=True), top_k or DEFAULT_TOP_K)
            for start in per_queries
            for hits in zip(*found[start : start + len(searched)], strict=True)
        )
        return SearchResults(
            found[0].model,
            results,
            reduce(add, (one.usage for one in found)),
            sum(one.truncated_tokens for one in found),
        )

    return Work(parts, SEARCH, read, join)


def found_hits(hits: Iterable[similarity_pb2.Hit], texts: Sequence[str]) -> tuple[Hit, ...]:
    """Read the hits of a response, with the texts that were found."""
    return tuple(Hit(hit.index, hit.score, texts[hit.index]) for hit in hits)


def _best(
    parts: Iterable[tuple[Chunk[str], Sequence[Hit]]],
    top_k: int | None,
) -> tuple[Hit, ...]:
    """Merge what was found in the parts of a list; equal scores in list order."""
    hits = (replace(hit, index=chunk.start + hit.index) for chunk, part in parts for hit in part)
    return tuple(sorted(hits, key=lambda hit: (-hit.score, hit.index))[:top_k])
