"""A disk that fills up while a bundle is being written, at each of its files in turn."""

import resource
import shutil
from contextlib import contextmanager
from dataclasses import replace

import pytest
from semserve_export.bundle.layout import write_bundle
from semserve_export.errors import ExportError
from semserve_export.pipeline import export
from semserve_export.tokenizers.bert_wordpiece import build_tokenizer
from semserve_export.variants.variants import add_variants

GOLDEN, GRAPH, VARIANT = 20_000, 60_000, 5_000
"""Bytes that a file may have: too few for the golden answers; enough for them and too few for what
is larger, such as the graph of 114 kB; too few for a faster graph."""
pytestmark = pytest.mark.parametrize("varied", ["embedding"], indirect=True)


@contextmanager
def full_disk(most):
    """No file may grow past so many bytes; a write that would is refused, as on a full disk.

    Only for as long as it is entered: pytest writes its own report, perhaps to a file, afterwards.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def many_pieces(vocabulary):
    """Make a tokenizer.json that is larger than golden.json."""
    pieces = [*vocabulary, *(f"piece{number}" for number in range(9000))]
    return build_tokenizer(pieces, lowercase=True, strip_accents=True)


@pytest.mark.parametrize("file", ["golden.json", "tokenizer.json", "LICENSE", "NOTICE"])
@pytest.mark.parametrize("older", [False, True])
def test_a_disk_that_is_full_before_the_graph_leaves_all_as_it_was(
    exported, vocabulary, tmp_path, file, older
):
    model = {
        "golden.json": exported.model,
        "tokenizer.json": replace(exported.model, tokenizer=many_pieces(vocabulary)),
        "LICENSE": replace(exported.model, licence="x" * 2 * GRAPH),
        "NOTICE": replace(exported.model, notice="x" * 2 * GRAPH),
    }[file]
    refused_by_full_disk(
        tmp_path,
        exported.directory if older else None,
        lambda directory: export.export_model(model, directory, lambda _: None),
        GOLDEN if file == "golden.json" else GRAPH,
    )


def test_a_disk_that_is_full_at_the_graph_leaves_the_older_bundle(exported, tmp_path):
    refused_by_full_disk(
        tmp_path,
        exported.directory,
        lambda directory: export.export_model(exported.model, directory, lambda _: None),
        GRAPH,
    )


def test_a_disk_that_is_full_at_a_variant_leaves_the_older_bundle(exported, tmp_path):
    def fill(scratch):
        return add_variants(exported.model, ("fused",), scratch, lambda _: None, print)

    refused_by_full_disk(
        tmp_path, exported.directory, lambda directory: write_bundle(directory, fill), VARIANT
    )


def test_a_disk_that_is_full_at_the_manifest_leaves_the_older_bundle(exported, tmp_path):
    def fill(scratch):
        (scratch / "small").write_text("fits")
        return exported.manifest

    refused_by_full_disk(
        tmp_path, exported.directory, lambda directory: write_bundle(directory, fill), 1000
    )


def refused_by_full_disk(tmp_path, older, write, most):
    """Write a bundle onto a full disk, and check that nothing has changed there."""
    models = tmp_path / "models"
    models.mkdir()
    if older:
        shutil.copytree(older, models / "tiny")
    before = contents(models)
    with (
        pytest.raises(ExportError, match=r"^cannot write .*tiny: File too large$"),
        full_disk(most),
    ):
        write(models / "tiny")
    assert before == contents(models)


def contents(directory):
    return {path: path.is_file() and path.read_bytes() for path in directory.rglob("*")}
