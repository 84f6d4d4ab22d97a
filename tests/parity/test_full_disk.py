"""A disk that fills up while a bundle is being written."""

import resource
from contextlib import contextmanager

import pytest
from semserve_export import export
from semserve_export.errors import ExportError

LIMITS = (100, 2_000, 20_000)
"""Bytes that a file may have: too few for the manifest, the tokenizer, the graph."""


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


@pytest.mark.parametrize("most", LIMITS)
def test_an_export_onto_a_full_disk_leaves_nothing_behind(exported, tmp_path, most):
    directory = tmp_path / "models" / "full"
    with pytest.raises(ExportError), full_disk(most):
        export.export_model(exported.model, directory, print)
    assert [] == list(directory.parent.iterdir())


def test_a_full_disk_keeps_the_older_bundle(exported):
    before = {path.name: path.read_bytes() for path in exported.directory.iterdir()}
    with pytest.raises(ExportError), full_disk(LIMITS[-1]):
        export.export_model(exported.model, exported.directory, print)
    assert before == {path.name: path.read_bytes() for path in exported.directory.iterdir()}
