"""Hugging Face and sentence-transformers directories, through a running server, against numpy."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from parity.directory_cases import Case, Expected
from parity.directory_table import CASES
from parity.serving import Stubs, serving
from semserve import Client
from semserve_export.options import ModelOptions
from semserve_export.pipeline.custom_model import load_custom_model
from semserve_export.pipeline.export import export_model

pytestmark = pytest.mark.timeout(600)
TOLERANCE = 1e-5
EVERY = bool(os.environ.get("SEMSERVE_ALL_EXPORTS"))  # `make test-exports`
CHOSEN = [case for case in CASES if case.quick or EVERY]


@dataclass(frozen=True)
class Served:
    """A server over the bundles of all chosen cases, and what each must answer."""

    client: Client
    stubs: Stubs
    expected: dict[str, Expected]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    root, expected = tmp_path_factory.mktemp("directories"), {}
    for case in CHOSEN:
        expected[case.name] = case.write(root / case.name)
        export(case, root / case.name, root / "models" / case.name, expected[case.name])
    with serving(root / "models") as address, Client(address) as client, Stubs(address) as stubs:
        yield Served(client, stubs, expected)


def export(case: Case, source: Path, bundle: Path, expected: Expected) -> None:
    model = load_custom_model(ModelOptions(str(source), name=case.name, **case.flags))
    export_model(model, bundle, lambda _: None, expected.variants)


@pytest.mark.parametrize("name", [case.name for case in CHOSEN])
def test_the_server_answers_what_the_files_of_a_directory_mean(served, name):
    expected = served.expected[name]
    rows = expected.rows()
    if expected.task == "sparse_embedding":
        vectors = served.stubs.embed_sparse(expected.items, name, rows.shape[1])
        np.testing.assert_allclose(vectors, rows, rtol=TOLERANCE, atol=TOLERANCE)
        assert np.abs(rows[0] - rows[1]).max() > 1e-3, "the reference tells texts apart"
    elif expected.task == "score":
        scores = served.stubs.score(expected.items, name)
        np.testing.assert_allclose(scores, expected.scores(rows)[:, 0], rtol=0, atol=TOLERANCE)
    elif expected.task == "classification":
        answers = served.client.classify(expected.items, model=name)
        np.testing.assert_allclose(answers.logits, rows, rtol=TOLERANCE, atol=TOLERANCE)
        np.testing.assert_allclose(answers.scores, expected.scores(rows), rtol=0, atol=TOLERANCE)
    else:
        vectors = served.client.embed(expected.items, model=name)
        np.testing.assert_allclose(np.array(vectors), rows, rtol=TOLERANCE, atol=TOLERANCE)
        assert np.abs(rows[0] - rows[1]).max() > 1e-3, "the reference tells texts apart"
