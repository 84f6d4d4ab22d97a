"""A bundle is replaced whole, whenever the process that replaces it is killed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from semserve_export.bundle.layout import write_bundle
from semserve_export.errors import ExportError
from semserve_export.files.atomic_directory import LOCK, scratch_directory, sweep

PROGRAM = Path(__file__).with_name("killed_exports.py")
SIGKILL = -9


def kills(models, how):
    done = subprocess.run(
        [sys.executable, PROGRAM, models, how], capture_output=True, check=True, text=True
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_wherever_an_export_is_killed_a_whole_bundle_is_at_the_name(tmp_path):
    *killed, last = kills(tmp_path, "exchange")
    assert {SIGKILL} == {code for _, code, *_ in killed}
    assert 0 == last[1]
    seen = [at_once for _, _, at_once, _, _ in killed]
    assert None not in seen
    assert "mixed" not in seen
    assert "old" == seen[0], "killed before the exchange it is the old one"
    assert f"new {killed[-1][0]}" == seen[-1], "killed after it the new one"
    assert all(after == at_once and not left for _, _, at_once, after, left in [*killed, last])


def test_where_nothing_can_be_exchanged_the_next_export_brings_the_older_one_back(tmp_path):
    *killed, last = kills(tmp_path, "rename")
    assert 0 == last[1]
    assert any(at_once is None for _, _, at_once, _, _ in killed), "killed between the two renames"
    assert all(
        after not in {None, "mixed"} and not left for _, _, _, after, left in [*killed, last]
    )


def test_what_a_killed_export_left_is_swept_but_not_what_a_living_one_writes(tmp_path):
    dead = tmp_path / ".other.export-abcd1234"
    (dead / "other").mkdir(parents=True)
    (dead / LOCK).touch()
    foreign = tmp_path / ".cache-abcd1234"
    (foreign / "deep").mkdir(parents=True)
    with scratch_directory(tmp_path / "tiny") as living:
        sweep(tmp_path)
        assert {living, foreign} == set(tmp_path.iterdir())
    assert [foreign] == list(tmp_path.iterdir())


def test_two_exports_of_one_name_at_once_do_not_mix(tmp_path):
    bundle = tmp_path / "tiny"

    def outer(directory):
        (directory / "file").write_text("outer")
        write_bundle(bundle, inner)
        assert "inner" == (bundle / "file").read_text()
        return {"by": "outer"}

    def inner(directory):
        (directory / "file").write_text("inner")
        return {"by": "inner"}

    write_bundle(bundle, outer)
    assert ("outer", "outer") == (
        (bundle / "file").read_text(),
        json.loads((bundle / "bundle.json").read_text())["by"],
    )
    assert [bundle] == list(tmp_path.iterdir())


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write all")
def test_a_directory_without_permission_is_named_in_one_line(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ExportError, match=r"cannot write .*tiny: no permission to write in"):
        write_bundle(tmp_path / "tiny", lambda _: {})


def test_an_output_below_a_file_is_named_in_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ExportError, match=r"cannot write .*tiny: .*file is no directory"):
        write_bundle(tmp_path / "file" / "tiny", lambda _: {})
