"""The examples run as they stand; the server answers them, and ghz, as Keras does."""

import contextlib
import functools
import io
import json
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from go_tools import GHZ, tool
from parity.serving import serving
from semserve_export.bundle.layout import read_bundle_json, read_manifest
from semserve_export.keras_models.head import apply_scores

# NumPy's and Keras's, about how Keras saves a model.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
EXAMPLES = Path(__file__).parents[2] / "export" / "examples"
LINES = {
    "lstm_classifier": "good, 0.",
    "average_embedder": "a word without an id is left out",
    "hypothesis_first": "order of the texts: hypothesis, premise",
    "cross_encoder": "train a network by gradient descent",
    "siamese_bert": "one encoder for both sides compared by manhattan",
    "two_lstms": "an encoder for each side compared by cosine",
    "tf_hub_bert": "pooling: pooled",
}
"""A part of what each script prints."""
CALLS = {
    "embedding": "EmbeddingService/Embed",
    "classification": "ClassificationService/Classify",
    "score": "ScoreService/Score",
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Give what runs an example, once: what it printed, and a directory with its bundles."""
    place = tmp_path_factory.mktemp("examples")
    sys.path.insert(0, str(EXAMPLES))
    import local_server  # noqa: PLC0415 - beside the examples

    @functools.cache
    def run_once(name):
        directory, printed = place / name, io.StringIO()

        @contextlib.contextmanager
        def serve(models):
            shutil.copytree(models, directory)
            with as_written(models) as address:
                yield address

        as_written, local_server.serve = local_server.serve, serve
        try:
            with contextlib.redirect_stdout(printed):
                runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
        finally:
            local_server.serve = as_written
        return printed.getvalue(), directory

    yield run_once
    sys.path.remove(str(EXAMPLES))


@pytest.mark.parametrize("name", LINES)
def test_an_example_ends_in_answers_that_equal_those_of_keras(run, name):
    printed, _ = run(name)
    assert LINES[name] in printed


@pytest.fixture(scope="module")
def together(run, tmp_path_factory):
    """Serve the bundles of all examples; gives the address, and the bundles by their names."""
    models = tmp_path_factory.mktemp("models")
    bundles = {}
    for name in LINES:
        (bundle,) = run(name)[1].iterdir()
        bundles[name] = Path(shutil.copytree(bundle, models / name.replace("_", "-")))
        manifest = read_bundle_json(bundles[name] / "bundle.json") | {"model": bundles[name].name}
        (bundles[name] / "bundle.json").write_text(json.dumps(manifest))
    with serving(models) as address:
        yield address, bundles


@pytest.mark.timeout(600)  # the first run builds ghz from source
@pytest.mark.parametrize("name", LINES)
def test_ghz_gets_the_answers_of_keras_from_the_bundle_of_an_example(tmp_path, request, name):
    ghz = tool(GHZ)
    address, bundles = request.getfixturevalue("together")
    manifest = read_manifest(bundles[name])
    cases = read_bundle_json(bundles[name] / "golden.json")["cases"]
    requests = [question(manifest, case) for case in cases]
    (tmp_path / "asked.json").write_text(json.dumps(requests))
    total = 2 * len(requests)
    ran = subprocess.run(
        [
            *(ghz, "--insecure", "--call", f"semserve.v1.{CALLS[manifest['task']]}", "-O", "json"),
            *("-D", tmp_path / "asked.json", "-n", str(total), "-c", "8", "--connections", "2"),
            *("--debug", tmp_path / "debug.log", address),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert 0 == ran.returncode, ran.stderr + ran.stdout
    assert {"OK": total} == json.loads(ran.stdout)["statusCodeDistribution"]
    expected = {
        json.dumps(request, sort_keys=True): keras(manifest, case)
        for request, case in zip(requests, cases, strict=True)
    }
    output = [json.loads(line) for line in (tmp_path / "debug.log").read_text().splitlines()]
    answers = [line for line in output if line["message"] == "Received response"]
    assert total == len(answers)
    for answer in answers:
        values = numbers(json.loads(answer["response"]))
        expected_values = expected[json.dumps(json.loads(answer["input"]), sort_keys=True)]
        np.testing.assert_allclose(values, expected_values, rtol=0, atol=1e-5)


def question(manifest, case):
    """The request about one golden case."""
    request = {"model": manifest["model"]}
    if "text" in case and manifest["task"] == "classification":
        request["pairs"] = [{"premise": case["text"]}]
    elif "text" in case:
        request["texts"] = [case["text"]]
    elif manifest["task"] == "score":
        request["pairs"] = [{"left": case["premise"], "right": case["hypothesis"]}]
    else:
        request["pairs"] = [{key: case[key] for key in ("premise", "hypothesis")}]
    return request | ({"side": f"SIDE_{case['side'].upper()}"} if "side" in case else {})


def keras(manifest, case):
    """What Keras said of a golden case, as the server tells it."""
    if manifest["task"] == "embedding":
        return case["embedding"]
    applied = manifest.get("scores") or "softmax"
    return apply_scores(np.array([case["logits"]], np.float32), applied)[0]


def numbers(response):
    """The numbers of a response to one text or pair."""
    if "scores" in response:
        return response["scores"]
    (result,) = response["results"]
    if "embedding" in result:
        return result["embedding"]["values"]
    return [score.get("score", 0) for score in result["classification"]["scores"]]
