"""The export refuses each manifest that the server would refuse, and names the field."""

import pytest
from manifests import BAD, GOOD, manifest
from semserve_export.bundle.schema import require_fields, require_manifest
from semserve_export.errors import BundleError, ExportError


@pytest.mark.parametrize(("bundle", "change"), GOOD.values(), ids=GOOD)
def test_what_the_server_takes_is_written(bundle, change):
    require_manifest(manifest(bundle, change), "mine")


@pytest.mark.parametrize(("bundle", "change"), BAD.values(), ids=BAD)
def test_what_the_server_refuses_is_refused_here_in_one_line(bundle, change):
    with pytest.raises(BundleError, match=r"mine: \S+: ") as raised:
        require_manifest(manifest(bundle, change), "mine")
    assert 1 == len(str(raised.value).splitlines())
    assert 400 > len(str(raised.value))


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("model", "my model", "--name: 'my model' is no name"),
        ("description", "d" * 600, "description: has 600 characters, at most 512 are allowed"),
        ("labels", ["a", "b", "a"], "labels: 'a' is there twice"),
        ("labels", ["a", ""], r"labels\[1\]: is empty"),
        ("labels", ["a", "b" * 300], r"labels\[1\]: has 300 characters, at most 256 are allowed"),
        ("labels", ["a"], "labels: has 1 entries, at least 2 are needed"),
        ("max_sequence_length", 2, "max_sequence_length: is 2, at least 3 is needed"),
    ],
)
def test_a_field_is_refused_before_there_is_a_manifest(field, value, says):
    with pytest.raises(ExportError, match=says):
        require_fields({field: value, "metric": None}, {"model": "--name"})
