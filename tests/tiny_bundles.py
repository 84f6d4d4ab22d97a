"""Writes bundles of tiny ONNX graphs, with a tokenizer of a dozen words."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, pre_tokenizers, processors

Ids = list[int]
WORDS = ["a", "dog", "cat", "sat", "on", "mat", "sea", "sun", "bus", "town", "query:", "passage:"]
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS]
CLS, SEP = VOCABULARY.index("[CLS]"), VOCABULARY.index("[SEP]")
LONGEST = 12
"""Tokens that each model takes."""


def ids_of(text: str) -> Ids:
    """Return the ids of a text's words, without special tokens."""
    return [VOCABULARY.index(word) if word in VOCABULARY else 1 for word in text.split()]


def single(text: str) -> Ids:
    """Return a text as BERT takes it."""
    return [CLS, *ids_of(text), SEP]


def joined(premise: str, hypothesis: str, *, hypothesis_first: bool) -> Ids:
    """Return a pair as one sequence."""
    first, second = (hypothesis, premise) if hypothesis_first else (premise, hypothesis)
    return [*single(first), *ids_of(second), SEP]


def golden(text: str, **answer: Any) -> dict[str, Any]:
    """Make a golden answer for a text."""
    ids = single(text)
    plain = {
        name: value.tolist() if isinstance(value, np.ndarray) else value
        for name, value in answer.items()
    }
    return {"text": text, "token_ids": ids, "segment_ids": [0] * len(ids), **plain}


def golden_pair(
    premise: str, hypothesis: str, logit: float, *, hypothesis_first: bool
) -> dict[str, Any]:
    """Make a golden answer of one logit for a pair."""
    ids = joined(premise, hypothesis, hypothesis_first=hypothesis_first)
    first = hypothesis if hypothesis_first else premise
    size = len(single(first))
    return {
        "premise": premise,
        "hypothesis": hypothesis,
        "token_ids": ids,
        "segment_ids": [0] * size + [1] * (len(ids) - size),
        "logits": [logit],
    }


@dataclass(frozen=True, slots=True)
class Tiny:
    """A bundle to write."""

    name: str
    nodes: list[onnx.NodeProto]
    constants: dict[str, NDArray[Any]]
    manifest: dict[str, Any]
    golden: list[dict[str, Any]]
    template: bool = True
    """Whether the tokenizer adds [CLS] and [SEP]."""
    inputs: list[str] = field(default_factory=lambda: ["token_ids", "padding_mask"])

    def write(self, models_directory: Path) -> Path:
        """Write the bundle, as the export does."""
        directory = models_directory / self.name
        directory.mkdir()
        golden = {"schema_version": 1, "tolerance": 1e-5, "cases": self.golden}
        files = {
            "model.onnx": self._graph(),
            "tokenizer.json": tokenizer_json(template=self.template).encode(),
            "golden.json": json.dumps(golden).encode(),
        }
        for name, content in files.items():
            (directory / name).write_bytes(content)
        digests = {
            name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
            for name, content in files.items()
        }
        manifest = {
            "schema_version": 1,
            "model": self.name,
            "pair": False,
            "inputs": self.inputs,
            "max_sequence_length": LONGEST,
            "truncation": "end",
            "tokenizer_sha256": digests["tokenizer.json"]["sha256"],
            "files": digests,
            "versions": {},
            "weights": {"source": "random numbers"},
            "variants": {
                "portable": {
                    "file": "model.onnx",
                    "precision": "fp32",
                    "tolerance": 1e-5,
                    "max_abs_difference": 0.0,
                    "reference": "numpy",
                }
            },
            **self.manifest,
        }
        (directory / "bundle.json").write_text(json.dumps(manifest))
        return directory

    def _graph(self) -> bytes:
        output = self.manifest["output"]
        size = self.manifest.get("dimensions") or len(self.manifest.get("labels") or [0])
        graph = helper.make_graph(
            self.nodes,
            self.name,
            [
                helper.make_tensor_value_info(
                    name, TensorProto.INT32, ["batch"] if name == "side" else ["batch", "sequence"]
                )
                for name in self.inputs
            ],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", size])],
            [numpy_helper.from_array(value, name) for name, value in self.constants.items()],
        )
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        content: bytes = made.SerializeToString()
        return content


def tokenizer_json(*, template: bool) -> str:
    vocabulary = {word: place for place, word in enumerate(VOCABULARY)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))  # noqa: S106
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if template:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]",
            pair="[CLS] $A [SEP] $B:1 [SEP]:1",
            special_tokens=[("[CLS]", CLS), ("[SEP]", SEP)],
        )
    text: str = tokenizer.to_str()
    return text


def node(kind: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, inputs.split(), [output], **attributes)


def with_fused(bundle: Path, copy: Path) -> Path:
    """Copy a bundle whose portable graph is its fused one too; the copy."""
    shutil.copytree(bundle, copy)
    manifest = json.loads((copy / "bundle.json").read_text())
    manifest["variants"]["fused"] = manifest["variants"]["portable"]
    (copy / "bundle.json").write_text(json.dumps(manifest))
    return copy
