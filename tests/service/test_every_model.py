"""Every exported model, all behind one server: each answers as Keras did, and is listed."""

from __future__ import annotations

import json

import numpy as np
import pytest
from conftest import ROOT
from semserve import Client
from semserve.cli import main

EXPORTED = sorted(path.parent.name for path in (ROOT / "models").glob("[!.]*/bundle.json"))


@pytest.mark.parametrize("name", EXPORTED)
def test_each_model_answers_as_keras_did_alone_and_together(real_address: str, name: str) -> None:
    cases = json.loads((ROOT / "models" / name / "golden.json").read_text())["cases"]
    with Client(real_address) as client:

        def answer(some: list[dict[str, object]]) -> np.ndarray:
            if "embedding" in cases[0]:
                return client.embed([case["text"] for case in some], model=name).vectors
            pairs = [(case["premise"], case["hypothesis"]) for case in some]
            return client.classify(pairs, model=name).logits

        expected = [case.get("embedding") or case["logits"] for case in cases]
        alone = np.concatenate([answer([case]) for case in cases])
        np.testing.assert_allclose(alone, expected, rtol=0, atol=1e-5)
        np.testing.assert_allclose(answer(cases), expected, rtol=0, atol=1e-5)


def test_the_command_lists_every_model(
    real_address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["models", "--address", real_address, "--output", "json"])
    listed = json.loads(capsys.readouterr().out)
    assert EXPORTED == [model["name"] for model in listed]
