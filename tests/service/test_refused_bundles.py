"""The alarm for a bundle that cannot be served ends when its cause does."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from controlled import NAME, Controlled, add, describe
from prometheus_client import CollectorRegistry
from refusals import refusal
from semserve_server.observability.metrics import Metrics
from semserve_server.observability.recorder import Recorder

BROKEN = b'{"model": nothing}'


def refused(served: Controlled) -> float | None:
    """What Prometheus is told."""
    registry = CollectorRegistry()
    registry.register(Metrics(Recorder(), served.models))
    return registry.get_sample_value("semserve_bundles_refused")


def spoil_golden(bundle: Path) -> None:
    golden = json.loads((bundle / "golden.json").read_text())
    golden["cases"][0]["embedding"][0] += 0.5
    describe(bundle, "bad", golden=json.dumps(golden).encode())


def spoil_manifest(bundle: Path) -> None:
    (bundle / "bundle.json").write_bytes(BROKEN)


def put_back(bundle: Path, whole: Path) -> None:
    shutil.rmtree(bundle, ignore_errors=True)
    shutil.copytree(whole, bundle)


def delete(bundle: Path, _whole: Path) -> None:
    shutil.rmtree(bundle)


def delete_the_manifest(bundle: Path, _whole: Path) -> None:
    (bundle / "bundle.json").unlink()


def rename_away(bundle: Path, _whole: Path) -> None:
    bundle.rename(bundle.with_name(".old"))


@pytest.mark.parametrize(("spoil", "remedy"), [
    (spoil_golden, put_back), (spoil_golden, delete), (spoil_golden, rename_away),
    (spoil_manifest, put_back), (spoil_manifest, delete_the_manifest),
], ids=lambda one: one.__name__)  # fmt: skip
async def test_the_alarm_ends_when_the_bad_bundle_is_gone(
    served: Controlled,
    tiny_models: Path,
    spoil: Callable[[Path], None],
    remedy: Callable[[Path, Path], None],
) -> None:
    spoil(served.bundle)
    await served.control.refresh()
    assert (1, True) == (refused(served), bool((await served.info()).reload_error))
    remedy(served.bundle, tiny_models / NAME)
    await served.control.refresh()
    assert (0, "") == (refused(served), (await served.info()).reload_error)
    assert 16 == len(await served.embed())


async def test_the_alarm_ends_when_the_bundle_is_mended_or_loaded_by_name(
    served: Controlled, tiny_models: Path
) -> None:
    spoil_golden(served.bundle)
    assert grpc.StatusCode.FAILED_PRECONDITION == (await refusal(served.load())).code
    assert 1 == refused(served)
    put_back(served.bundle, tiny_models / NAME)
    await served.load()  # what is served already
    assert (0, "") == (refused(served), (await served.info()).reload_error)


async def test_the_alarm_ends_when_no_bundle_is_left_at_all(served: Controlled) -> None:
    spoil_golden(served.bundle)
    await served.control.refresh()
    assert 1 == refused(served)
    shutil.rmtree(served.directory)
    await served.control.refresh()
    assert 0 == refused(served)


async def test_a_refused_bundle_that_moves_is_refused_once_and_under_its_own_name(
    served: Controlled,
) -> None:
    spoil_golden(served.bundle)
    await served.control.refresh()
    served.bundle.rename(served.directory / "moved")
    await served.control.refresh()
    assert (1, [NAME]) == (refused(served), list(served.models.refusals))
    manifest = (served.directory / "moved" / "bundle.json").read_text()
    (served.directory / "moved" / "bundle.json").write_text(manifest.replace(NAME, "other"))
    await served.control.refresh()
    assert (1, ["other"]) == (refused(served), list(served.models.refusals))
    assert "" == (await served.info()).reload_error


async def test_a_broken_manifest_is_told_of_the_model_that_was_served_from_there(
    served: Controlled,
) -> None:
    served.bundle.rename(served.directory / "release-2")
    describe(served.directory / "release-2", "from another directory")
    assert "from another directory" == (await served.load()).description
    (served.directory / "release-2" / "bundle.json").write_bytes(BROKEN)
    await served.control.refresh()
    assert "JSON is malformed" in (await served.info()).reload_error


async def test_a_bundle_that_was_never_loaded_says_why_to_whoever_asks_for_it(
    served: Controlled, tiny_models: Path
) -> None:
    add(served, tiny_models, "another")
    (served.directory / "another" / "golden.json").write_bytes(b"{}")
    await served.control.refresh()
    for call in (served.info("another"), served.embed(model="another")):
        error = await refusal(call)
        assert grpc.StatusCode.NOT_FOUND == error.code
        assert (
            "there is no model 'another': its bundle failed to load: another/golden"
            in error.message
        )
    await served.unload("another")  # nobody wants it
    assert 0 == refused(served)
    assert "loaded are: tiny-embed, tiny-nli" in (await refusal(served.info("another"))).message
    await served.control.refresh(again=True)
    assert 0 == refused(served)
    assert grpc.StatusCode.FAILED_PRECONDITION == (await refusal(served.load("another"))).code
    assert 1 == refused(served)
    shutil.rmtree(served.directory / "another")
    await served.control.refresh()
    assert 0 == refused(served)


async def test_a_default_that_is_refused_says_so_where_no_model_is_named(
    served: Controlled, tiny_models: Path
) -> None:
    add(served, tiny_models, "another")
    add(served, tiny_models, "minilm-l6-v2")
    (served.directory / "minilm-l6-v2" / "golden.json").write_bytes(b"{}")
    await served.control.refresh()
    served.models.defaults = {"embedding": "minilm-l6-v2"}
    error = await refusal(served.embed(model=""))
    says = "the default model 'minilm-l6-v2' failed to load; name one of: another, tiny-embed"
    assert {"model": says} == error.fields
