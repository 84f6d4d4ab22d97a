"""Bundles that cannot be served: the old one serves on, and the log and GetModel say why."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from controlled import NAME, Controlled, add, describe
from grpc_health.v1.health_pb2 import HealthCheckResponse
from refusals import refusal

SERVING = HealthCheckResponse.SERVING


def cut(bundle: Path) -> None:
    describe(bundle, "bad", model=(bundle / "model.onnx").read_bytes()[:5000])


def flip(bundle: Path) -> None:
    describe(bundle, "bad")
    content = bytearray((bundle / "model.onnx").read_bytes())
    content[3000] ^= 255
    (bundle / "model.onnx").write_bytes(content)


def other_answers(bundle: Path) -> None:
    golden = json.loads((bundle / "golden.json").read_text())
    golden["cases"][0]["embedding"][0] += 0.5
    describe(bundle, "bad", golden=json.dumps(golden).encode())


def no_tokenizer(bundle: Path) -> None:
    describe(bundle, "bad", tokenizer=b"{}")


def garbage(bundle: Path) -> None:
    (bundle / "bundle.json").write_bytes(b"\x00garbage")


def lost_file(bundle: Path) -> None:
    describe(bundle, "bad")
    (bundle / "tokenizer.json").unlink()


@pytest.mark.parametrize(("spoil", "says"), [
    (cut, "ONNX Runtime cannot load it"),
    (flip, "model.onnx: its SHA-256 differs from the manifest"),
    (other_answers, "the model differs from Keras by"),
    (no_tokenizer, "cannot be loaded"),
    (garbage, "bundle.json: JSON is malformed"),
    (lost_file, "tokenizer.json: No such file or directory"),
])  # fmt: skip
async def test_a_bad_bundle_leaves_the_old_one_serving_and_says_why(
    served: Controlled,
    spoil: Callable[[Path], None],
    says: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    before = await served.info()
    expected = await served.embed()
    whole = {path: path.read_bytes() for path in served.bundle.iterdir()}
    spoil(served.bundle)
    refused = await refusal(served.load())
    assert grpc.StatusCode.FAILED_PRECONDITION == refused.code
    assert says in refused.message
    assert str(served.directory) not in refused.message
    after = await served.info()
    assert before.digest == after.digest
    assert refused.message == after.reload_error
    assert f"{NAME}: not loaded: " in caplog.text
    assert (SERVING, SERVING) == (await served.health(NAME), await served.health(""))
    assert expected == await served.embed()
    for path, content in whole.items():
        path.write_bytes(content)
    describe(served.bundle, "good again")
    assert ("good again", "") == (
        (await served.load()).description,
        (await served.info()).reload_error,
    )


async def test_what_has_changed_is_loaded_at_a_look_and_what_is_bad_tried_once(
    served: Controlled, tiny_models: Path, caplog: pytest.LogCaptureFixture
) -> None:
    describe(served.bundle, "changed")
    add(served, tiny_models, "another")
    await served.control.refresh()
    assert "changed" == (await served.info()).description
    assert ["another", NAME, "tiny-nli"] == await served.names()
    other_answers(served.bundle)
    for _ in range(3):
        await served.control.refresh()
    assert 1 == caplog.text.count("not loaded")
    assert "changed" == (await served.info()).description
    golden = (tiny_models / NAME / "golden.json").read_bytes()
    describe(served.bundle, "mended", golden=golden)
    await served.control.refresh()
    assert ("mended", "") == ((await served.info()).description, (await served.info()).reload_error)


async def test_a_bundle_that_is_still_being_copied_is_tried_again(
    served: Controlled, tiny_models: Path
) -> None:
    """The manifest may come first, and it does not change when the rest has come."""
    add(served, tiny_models, "another")
    graph = (served.directory / "another" / "model.onnx").read_bytes()
    (served.directory / "another" / "model.onnx").unlink()
    await served.control.refresh()
    assert [NAME, "tiny-nli"] == await served.names()
    (served.directory / "another" / "model.onnx").write_bytes(graph)
    await served.control.refresh()
    assert ["another", NAME, "tiny-nli"] == await served.names()


async def test_two_bundles_of_one_name_are_not_chosen_between(
    served: Controlled, tiny_models: Path
) -> None:
    shutil.copytree(tiny_models / NAME, served.directory / "copy")
    describe(served.bundle, "changed")
    refused = await refusal(served.load())
    assert grpc.StatusCode.FAILED_PRECONDITION == refused.code
    assert "another bundle has the name 'tiny-embed' too" in refused.message
    shutil.rmtree(served.directory / "copy")
    await served.control.refresh()
    assert "changed" == (await served.info()).description
