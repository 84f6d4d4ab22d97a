"""Triton's own client works against the server, and gets the bits of our own API."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, running_server
from semserve import Client

TRITON = ROOT / ".tools" / "triton"
CALLS = Path(__file__).with_name("triton_calls.py")
TEXTS = ["a man is eating", "two dogs run"]


@pytest.mark.skipif(
    not (TRITON / ".ready").exists(),
    reason="Triton's client is not installed: run `make .tools/triton/.ready`",
)
def test_triton_s_own_client_gets_the_same_bits(tiny_models: Path) -> None:
    with running_server("--models", str(tiny_models), "--open-inference") as server:
        done = subprocess.run(
            [TRITON / "bin" / "python", CALLS, server.address],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert 0 == done.returncode, done.stderr
        with Client(server.address) as client:
            vectors = client.embed(TEXTS)
            classified = client.classify([(text, text) for text in TEXTS])
    reported = json.loads(done.stdout)
    assert (True, True, "7") == (reported["live"], reported["ready"], reported["id"])
    assert ["tiny-embed", "tiny-nli"] == reported["index"]
    assert ["premise", "hypothesis"] == reported["inputs"][:2]
    np.testing.assert_array_equal(vectors, np.array(reported["embedding"], np.float32))
    for streamed in reported["stream"].values():
        np.testing.assert_array_equal(vectors, np.array(streamed, np.float32))
    assert [one.label for one in classified] == reported["label"]
    np.testing.assert_array_equal(classified.logits, np.array(reported["logits"], "f4"))
    assert reported["scores"] is None  # it was not asked for
    assert "StatusCode.INVALID_ARGUMENT" == reported["refused"][0]
    assert "inputs[0].name" in reported["refused"][1]
