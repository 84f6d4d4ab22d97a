"""Manifests that are right and wrong, for the server and for the export: both must agree on each.

A case is a tiny bundle's name and a change to its manifest; `GOOD` ones are served, `BAD` ones not.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

BUNDLES = Path(__file__).parent / "bundles"
EMBEDDER, CLASSIFIER = "tiny-embed", "tiny-nli"
DIGEST = "0" * 64
Change = Callable[[dict[str, Any]], object]


def manifest(bundle: str, change: Change = lambda _: None) -> dict[str, Any]:
    """Return a tiny bundle's manifest with a change."""
    content: dict[str, Any] = json.loads((BUNDLES / bundle / "bundle.json").read_text())
    change(content)
    return content


def _set(**fields: Any) -> Change:
    return lambda content: content.update(fields)


def _without(*fields: str) -> Change:
    return lambda content: [content.pop(field, None) for field in fields]


def _portable(**fields: Any) -> Change:
    return lambda content: content["variants"]["portable"].update(fields)


def _file(name: str, **fields: Any) -> Change:
    return lambda content: (
        content["files"].setdefault(name, {"sha256": DIGEST, "bytes": 1}).update(fields)
    )


def _score(**fields: Any) -> Change:
    return _set(**{"task": "score", "scores": "sigmoid", "labels": None} | fields)


def _sparse(**fields: Any) -> Change:
    sparse = {"task": "sparse_embedding", "output": "weights", "normalized": None, "metric": None}
    return _set(**sparse | fields)


SIDED = ("token_ids", "segment_ids", "padding_mask", "side")
SEPARATE = ["token_ids", "padding_mask", "token_ids_right", "padding_mask_right"]
GOOD: dict[str, tuple[str, Change]] = {
    "an embedder": (EMBEDDER, _set()),
    "a classifier": (CLASSIFIER, _set()),
    "softmax": (CLASSIFIER, _set(scores="softmax")),
    "sigmoid": (CLASSIFIER, _set(scores="sigmoid")),
    "scores null": (CLASSIFIER, _set(scores=None)),
    "no description": (EMBEDDER, _without("description")),
    "a name of 128": (EMBEDDER, _set(model="a" * 128)),
    "a name of all signs": (EMBEDDER, _set(model="0aZ._-")),
    "labels of 256": (CLASSIFIER, _set(labels=["a" * 256, "b" * 256, "語" * 256])),
    "length 3": (EMBEDDER, _set(max_sequence_length=3)),
    "no segments": (EMBEDDER, _set(inputs=["token_ids", "padding_mask"])),
    "other order": (EMBEDDER, _set(inputs=["padding_mask", "token_ids", "segment_ids"])),
    "digests of weights": (
        EMBEDDER, _set(weights={"source": "x", "sha256": DIGEST, "adapter_sha256": DIGEST}),
    ),
    "no digest": (EMBEDDER, _set(weights={"source": ""})),
    "another file": (EMBEDDER, _file("README.md")),
    "a large graph": (EMBEDDER, _file("model.onnx", bytes=2**31 - 1)),
    "tokenizer of 16 MiB": (EMBEDDER, _file("tokenizer.json", bytes=2**24)),
    "dot": (EMBEDDER, _set(metric="dot")),
    "labels null": (EMBEDDER, _set(labels=None)),
    "tolerance 1": (EMBEDDER, _portable(tolerance=1)),
    "scores none": (CLASSIFIER, _set(scores="none")),
    "hypothesis first": (CLASSIFIER, _set(text_order=["hypothesis", "premise"])),
    "premise first": (CLASSIFIER, _set(text_order=["premise", "hypothesis"])),
    "joined pairs": (CLASSIFIER, _set(pair_inputs="joined")),
    "the first text of a pair is kept": (CLASSIFIER, _set(pair_truncation="waterfall")),
    "separate pairs": (CLASSIFIER, _set(pair_inputs="separate", inputs=SEPARATE)),
    "separate pairs without masks": (
        CLASSIFIER,
        _set(pair_inputs="separate", inputs=["token_ids", "token_ids_right"], padded_length=64),
    ),
    "a score": (CLASSIFIER, _score()),
    "a regression": (CLASSIFIER, _score(scores="none")),
    "a score of single texts": (CLASSIFIER, _score(pair=False)),
    "a sparse embedder": (EMBEDDER, _sparse()),
    "a sparse embedder with prompts": (EMBEDDER, _sparse(prompts={"query": "q: "})),
    "prompts": (EMBEDDER, _set(prompts={"query": "query: ", "s2p query": "", "é": "x"})),
    "a default prompt": (EMBEDDER, _set(prompts={"query": "query: "}, default_prompt="query")),
    "no prompts": (EMBEDDER, _set(prompts={}, default_prompt=None)),
    "two sides": (EMBEDDER, _set(sides=["left", "right"], inputs=[*SIDED])),
    "a padded length": (EMBEDDER, _set(padded_length=64)),
    "a padded length without a mask": (EMBEDDER, _set(padded_length=64, inputs=["token_ids"])),
    "padding at the start": (EMBEDDER, _set(padded_length=64, padding="start")),
    "truncation at the start": (EMBEDDER, _set(truncation="start")),
}  # fmt: skip

BAD: dict[str, tuple[str, Change]] = {
    "schema 2": (EMBEDDER, _set(schema_version=2)),
    "a surprise": (EMBEDDER, _set(surprise=1)),
    **{
        f"name {name!r}": (EMBEDDER, _set(model=name))
        for name in (
            "", ".", "..", "my model", "../up", "org/model", "-x", ".hidden", "_x", "a" * 129,
            "Überschrift", "模型", "x\n", "a\\b", "a:b",
        )
    },
    "no name": (EMBEDDER, _without("model")),
    "description of 513": (EMBEDDER, _set(description="d" * 513)),
    "description null": (EMBEDDER, _set(description=None)),
    "another task": (EMBEDDER, _set(task="regression")),
    "an embedder of logits": (EMBEDDER, _set(output="logits")),
    "an embedder of pairs": (EMBEDDER, _set(pair=True)),
    "an embedder with labels": (EMBEDDER, _set(labels=["a", "b"])),
    "an embedder with scores": (EMBEDDER, _set(scores="softmax")),
    "no pooling": (EMBEDDER, _set(pooling=None)),
    "empty pooling": (EMBEDDER, _set(pooling="")),
    "no dimensions": (EMBEDDER, _without("dimensions")),
    "dimensions 0": (EMBEDDER, _set(dimensions=0)),
    "no normalized": (EMBEDDER, _set(normalized=None)),
    "no metric": (EMBEDDER, _set(metric=None)),
    "another metric": (EMBEDDER, _set(metric="hamming")),
    "other scores": (CLASSIFIER, _set(scores="hinge")),
    "no labels": (CLASSIFIER, _without("labels")),
    "labels null": (CLASSIFIER, _set(labels=None)),
    "one label": (CLASSIFIER, _set(labels=["0"])),
    "an empty label": (CLASSIFIER, _set(labels=["a", "b", ""])),
    "a label of 300": (CLASSIFIER, _set(labels=["a", "b", "c" * 300])),
    "a label twice": (CLASSIFIER, _set(labels=["a", "b", "a"])),
    "4,097 labels": (CLASSIFIER, _set(labels=[str(number) for number in range(4097)])),
    "a classifier with dimensions": (CLASSIFIER, _set(dimensions=3)),
    "a classifier of embeddings": (CLASSIFIER, _set(output="embedding")),
    "length 2": (EMBEDDER, _set(max_sequence_length=2)),
    "length 65,537": (EMBEDDER, _set(max_sequence_length=65_537)),
    "length as text": (EMBEDDER, _set(max_sequence_length="64")),
    "no mask": (EMBEDDER, _set(inputs=["token_ids", "segment_ids"])),
    "no tokens": (EMBEDDER, _set(inputs=["padding_mask", "segment_ids"])),
    "an input twice": (EMBEDDER, _set(inputs=["token_ids", "padding_mask", "token_ids"])),
    "another truncation": (EMBEDDER, _set(truncation="middle")),
    "no portable": (EMBEDDER, lambda m: m["variants"].update(fused=m["variants"].pop("portable"))),
    "no variants": (EMBEDDER, _set(variants={})),
    "tolerance 0": (EMBEDDER, _portable(tolerance=0)),
    "tolerance 2": (EMBEDDER, _portable(tolerance=2)),
    "difference null": (EMBEDDER, _portable(max_abs_difference=None)),
    "a variant's path": (EMBEDDER, _portable(file="../../etc/passwd")),
    "a variant's file that is not listed": (EMBEDDER, _portable(file="other.onnx")),
    "a file's path": (EMBEDDER, _file("../up")),
    "a graph of 2 GiB": (EMBEDDER, _file("model.onnx", bytes=2**31)),
    "a tokenizer over 16 MiB": (EMBEDDER, _file("tokenizer.json", bytes=2**24 + 1)),
    "golden answers over 16 MiB": (EMBEDDER, _file("golden.json", bytes=2**24 + 1)),
    "no golden.json": (EMBEDDER, lambda m: m["files"].pop("golden.json")),
    "another tokenizer's digest": (EMBEDDER, _set(tokenizer_sha256=DIGEST)),
    "a digest in capitals": (EMBEDDER, _file("NOTICE", sha256="A" * 64)),
    "65 files": (EMBEDDER, lambda m: [_file(f"f{number}")(m) for number in range(65)]),
    "a classifier hypothesis first of single texts": (
        CLASSIFIER, _set(pair=False, text_order=["hypothesis", "premise"]),
    ),
    "an embedder with a text order": (EMBEDDER, _set(text_order=["premise", "hypothesis"])),
    "a cut of pairs for single texts": (CLASSIFIER, _set(pair=False, pair_truncation="waterfall")),
    "another cut of pairs": (CLASSIFIER, _set(pair_truncation="shortest_first")),
    "an order of one text": (CLASSIFIER, _set(text_order=["premise"])),
    "an order of one text twice": (CLASSIFIER, _set(text_order=["premise", "premise"])),
    "an order of other texts": (CLASSIFIER, _set(text_order=["left", "right"])),
    "a score without scores": (CLASSIFIER, _score(scores=None)),
    "a score by softmax": (CLASSIFIER, _score(scores="softmax")),
    "a score with labels": (CLASSIFIER, _score(labels=["a", "b"])),
    "a score with dimensions": (CLASSIFIER, _score(dimensions=1)),
    "a score of embeddings": (CLASSIFIER, _score(output="embedding")),
    "a score with prompts": (CLASSIFIER, _score(prompts={"query": "q"})),
    "a classifier with prompts": (CLASSIFIER, _set(prompts={"query": "q"})),
    "a sparse embedder of pairs": (EMBEDDER, _sparse(pair=True)),
    "a sparse embedder of embeddings": (EMBEDDER, _sparse(output="embedding")),
    "a sparse embedder without dimensions": (EMBEDDER, _sparse(dimensions=None)),
    "a sparse embedder with a metric": (EMBEDDER, _sparse(metric="dot")),
    "a sparse embedder that is normalized": (EMBEDDER, _sparse(normalized=True)),
    "a sparse embedder with labels": (EMBEDDER, _sparse(labels=["a", "b"])),
    "a sparse embedder with sides": (
        EMBEDDER, _sparse(sides=["left", "right"], inputs=[*SIDED]),
    ),
    "an embedder of weights": (EMBEDDER, _set(output="weights")),
    "a default prompt that is not there": (
        EMBEDDER, _set(prompts={"query": "q"}, default_prompt="passage"),
    ),
    "a default prompt without prompts": (EMBEDDER, _set(default_prompt="query")),
    "a prompt without a name": (EMBEDDER, _set(prompts={"": "q"})),
    "a prompt of 4,097": (EMBEDDER, _set(prompts={"query": "q" * 4097})),
    "65 prompts": (EMBEDDER, _set(prompts={str(number): "" for number in range(65)})),
    "sides without the input": (EMBEDDER, _set(sides=["left", "right"])),
    "the input side without sides": (EMBEDDER, _set(inputs=[*SIDED])),
    "sides in another order": (EMBEDDER, _set(sides=["right", "left"], inputs=[*SIDED])),
    "one side": (EMBEDDER, _set(sides=["left"], inputs=[*SIDED])),
    "a classifier with sides": (CLASSIFIER, _set(sides=["left", "right"], inputs=[*SIDED])),
    "separate pairs of one input": (CLASSIFIER, _set(pair_inputs="separate")),
    "joined pairs of two inputs": (CLASSIFIER, _set(pair_inputs="joined", inputs=SEPARATE)),
    "two inputs and no pair_inputs": (CLASSIFIER, _set(inputs=SEPARATE)),
    "separate pairs with one mask": (
        CLASSIFIER, _set(pair_inputs="separate", inputs=SEPARATE[:3]),
    ),
    "separate pairs with segments": (
        CLASSIFIER, _set(pair_inputs="separate", inputs=["segment_ids", *SEPARATE]),
    ),
    "separate inputs of single texts": (
        CLASSIFIER, _set(pair=False, pair_inputs="separate", inputs=SEPARATE),
    ),
    "a padded length that is not the longest": (EMBEDDER, _set(padded_length=32)),
    "a padded length of 2": (EMBEDDER, _set(padded_length=2, max_sequence_length=3)),
    "padding without a length": (EMBEDDER, _set(padding="start")),
    "padding in the middle": (EMBEDDER, _set(padded_length=64, padding="middle")),
    "no inputs": (EMBEDDER, _set(inputs=[])),
    "another input": (EMBEDDER, _set(inputs=["token_ids", "padding_mask", "position_ids"])),
    "a long source": (EMBEDDER, _set(weights={"source": "s" * 513})),
}  # fmt: skip
