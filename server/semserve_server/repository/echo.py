"""The echo model, which computes nothing: it measures the speed of everything but the model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from semserve_server.repository.golden_answers import Golden
from semserve_server.repository.manifest import Bundle, Manifest, Variant, Weights
from semserve_server.runtime.encoding import Encoding

NAME = "echo"
VARIANT = "none"
PROVIDER = "none"
LONGEST = 512
NO_DIGEST = "0" * 64


class Echo:
    """Returns the length of each encoding, in every dimension."""

    def __init__(self, dimensions: int) -> None:
        self._dimensions = dimensions

    def run(self, encodings: Sequence[Encoding], *, exclusive: bool = False) -> NDArray[np.float32]:
        """Return float32 [encodings, dimensions]."""
        del exclusive
        lengths = np.array([[len(encoding)] for encoding in encodings], np.float32)
        return np.repeat(lengths, self._dimensions, axis=1)


def echo_bundle(dimensions: int) -> Bundle:
    """Create the bundle of the echo model, with a tokenizer that splits at blanks."""
    manifest = Manifest(
        schema_version=1,
        model=NAME,
        description="runs nothing: each text's number of words, in every dimension",
        task="embedding",
        inputs=["token_ids", "padding_mask"],
        output="embedding",
        pair=False,
        pooling="none",
        normalized=False,
        dimensions=dimensions,
        metric="cosine",
        max_sequence_length=LONGEST,
        truncation="end",
        tokenizer_sha256=NO_DIGEST,
        files={},
        versions={},
        weights=Weights(source="none"),
        variants={
            VARIANT: Variant(
                file="none", precision="fp32", tolerance=1, max_abs_difference=0, reference="none"
            )
        },
    )
    tokenizer = {
        "version": "1.0",
        "added_tokens": [],
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "model": {"type": "WordLevel", "vocab": {"[UNK]": 0}, "unk_token": "[UNK]"},
    }
    golden = Golden(schema_version=1, tolerance=1, cases=[])
    return Bundle(Path(NAME), manifest, golden, json.dumps(tokenizer), NO_DIGEST)
