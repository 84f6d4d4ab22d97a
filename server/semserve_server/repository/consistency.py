"""Rules about several fields of a manifest, which its types cannot express. Pure.

`proto/bundle_schema.py` expresses the same rules in JSON Schema, for the export. A test checks that
both agree.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from semserve_server.repository.manifest import Manifest


def contradictions(manifest: Manifest, *, max_json_bytes: int) -> Iterator[str]:
    """Yield a sentence for each rule that a manifest violates.

    Args:
        manifest: has fields of the right types.
        max_json_bytes: most bytes of tokenizer.json and of golden.json.
    """
    rules: Mapping[str, bool] = {
        **_task_rules(manifest),
        **_text_rules(manifest),
        **_input_rules(manifest),
        **_file_rules(manifest, max_json_bytes),
    }
    for rule, broken in rules.items():
        if broken:
            yield rule


def _task_rules(manifest: Manifest) -> dict[str, bool]:
    """Return the rules about tasks and outputs; True for a violated rule."""
    m, task = manifest, manifest.task
    vectors = task in ("embedding", "sparse_embedding")
    return {
        "an embedding model needs output embedding, dimensions, pooling, normalized and metric": (
            task == "embedding"
            and (
                m.output != "embedding"
                or None in (m.dimensions, m.normalized, m.metric)
                or not m.pooling
            )
        ),
        "a classifier needs output logits and labels, each once, and no dimensions": (
            task == "classification"
            and (
                m.output != "logits"
                or m.dimensions is not None
                or not m.labels
                or len(set(m.labels)) != len(m.labels)
            )
        ),
        "a score model needs output logits, scores sigmoid or none, no labels and no dimensions": (
            task == "score"
            and (
                m.output != "logits"
                or m.scores not in ("sigmoid", "none")
                or m.labels is not None
                or m.dimensions is not None
            )
        ),
        "a sparse embedding model needs output weights and dimensions, no normalized, no metric": (
            task == "sparse_embedding"
            and (
                m.output != "weights"
                or m.dimensions is None
                or m.normalized is not None
                or m.metric is not None
            )
        ),
        f"a model of task {task} takes single texts: pair must be false": vectors and m.pair,
        f"a model of task {task} has no labels and no scores": (
            vectors and (m.labels is not None or m.scores is not None)
        ),
        "sides are for embedding models": m.sides is not None and task != "embedding",
        "prompts are for embedding and sparse_embedding models": (
            m.prompts is not None and not vectors
        ),
    }


def _text_rules(manifest: Manifest) -> dict[str, bool]:
    """Return the rules about how texts are encoded."""
    m = manifest
    return {
        "text_order needs pair true": m.text_order is not None and not m.pair,
        "text_order names premise and hypothesis, each once": (
            m.text_order is not None and len(set(m.text_order)) != len(m.text_order)
        ),
        "sides must be left, right": m.sides is not None and list(m.sides) != ["left", "right"],
        "pair_inputs needs pair true": m.pair_inputs is not None and not m.pair,
        "pair_truncation needs pair true": m.pair_truncation is not None and not m.pair,
        f"default_prompt {m.default_prompt!r} is not a name in prompts": (
            m.default_prompt is not None and m.default_prompt not in (m.prompts or {})
        ),
        "padded_length must equal max_sequence_length": (
            m.padded_length is not None and m.padded_length != m.max_sequence_length
        ),
        "padding needs padded_length": m.padding is not None and m.padded_length is None,
    }


def _input_rules(manifest: Manifest) -> dict[str, bool]:
    """Return the rules about the inputs of the graph."""
    m, inputs = manifest, set(manifest.inputs)
    separate, masked = m.pair_inputs == "separate", "padding_mask" in inputs
    return {
        "inputs need token_ids and padding_mask, each once (token_ids alone with padded_length)": (
            len(inputs) != len(m.inputs)
            or "token_ids" not in inputs
            or not (masked or m.padded_length is not None)
        ),
        "sides and the input `side` need each other": (m.sides is not None) != ("side" in inputs),
        "pair_inputs separate and the input token_ids_right need each other": (
            separate != ("token_ids_right" in inputs)
        ),
        "padding_mask_right needs token_ids_right and padding_mask, and the other way round": (
            ("padding_mask_right" in inputs) != (masked and separate)
        ),
        "pair_inputs separate has no segment_ids": separate and "segment_ids" in inputs,
    }


def _file_rules(manifest: Manifest, max_json_bytes: int) -> dict[str, bool]:
    """Return the rules about files and variants."""
    m = manifest
    json_files = {"tokenizer.json", "golden.json"}
    tokenizer = m.files.get("tokenizer.json")
    return {
        "there is no variant `portable`": "portable" not in m.variants,
        "files must list tokenizer.json, golden.json and every variant": not (
            json_files | {variant.file for variant in m.variants.values()}
        )
        <= set(m.files),
        f"tokenizer.json and golden.json have at most {max_json_bytes} bytes": any(
            m.files[name].bytes > max_json_bytes for name in json_files & set(m.files)
        ),
        "tokenizer_sha256 contradicts files": (
            tokenizer is not None and tokenizer.sha256 != m.tokenizer_sha256
        ),
    }
