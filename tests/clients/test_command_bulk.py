"""`semserve embed FILE --to OUTPUT`: order, formats, and runs that are killed and continued."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
from echoing import Echoing, echoing
from semserve.bulk.records import expected_rows

COMMAND = Path(sys.executable).with_name("semserve")
LINES = 20_000
"""Several times as many as the command has in flight or writes between two commits."""
WORDS = 31


def lines(count: int, *, words: int = WORDS) -> str:
    """Return lines whose numbers of words, which the echo model answers, tell them apart."""
    return "".join(f"{'word ' * (place % words)}{place}\n" for place in range(count))


async def start(server: Echoing, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        COMMAND, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"SEMSERVE_ADDRESS": server.address},
    )  # fmt: skip


async def run(server: Echoing, *arguments: str) -> tuple[int | None, str, str]:
    command = await start(server, *arguments)
    out, err = await command.communicate()
    return command.returncode, out.decode(), err.decode()


def rows_of(journal: Path) -> int:
    """Return the number of rows that a journal says are complete."""
    rows: int = json.loads(journal.read_text())["rows"]
    return rows


@pytest.mark.parametrize("suffix", ["npy", "parquet"])
async def test_a_run_that_is_killed_twice_gives_the_bytes_of_an_uninterrupted_one(tmp_path, suffix):
    file = tmp_path / "lines.txt"
    file.write_text(lines(LINES))
    whole, killed = tmp_path / f"whole.{suffix}", tmp_path / f"killed.{suffix}"
    journal = tmp_path / f"killed.{suffix}.journal"
    left = [0]
    async with echoing(dimensions=8) as server:
        assert 0 == (await run(server, "embed", str(file), "--to", str(whole)))[0]
        for _ in range(2):
            command = await start(server, "embed", str(file), "--to", str(killed))
            await server.until(lambda: journal.exists() and rows_of(journal) > left[-1])
            command.kill()
            await command.communicate()
            assert not killed.exists()
            left.append(rows_of(journal))
        code, out, err = await run(server, "embed", str(file), "--to", str(killed))
    assert left[1] < left[2] < LINES
    assert (0, f"{killed}: {LINES} rows\n") == (code, out)
    assert f"semserve: {killed} has {left[2]} complete rows; continuing after them\n" == err
    assert whole.read_bytes() == killed.read_bytes()
    assert {file, whole, killed} == {*tmp_path.iterdir()}


async def test_a_second_process_is_refused_and_changes_nothing_of_the_first(tmp_path):
    file, to = tmp_path / "lines.txt", tmp_path / "vectors.npy"
    file.write_text(lines(LINES))
    async with echoing(dimensions=8) as server:
        first = await start(server, "embed", str(file), "--to", str(to))
        await server.until(lambda: server.counters.tokens > 0)
        first.send_signal(signal.SIGSTOP)  # it does not end before the second begins
        second = await run(server, "embed", str(file), "--to", str(to))
        first.send_signal(signal.SIGCONT)
        await first.communicate()
    line = f"semserve: another process writes {to}: wait for its end\n"
    assert (2, "", line) == second
    assert (0, LINES) == (first.returncode, len(np.load(to, mmap_mode="r")))


@pytest.mark.parametrize("ends", [(".npy",), (".npy.partial.finished",)])
def test_a_run_that_was_killed_between_its_last_steps_is_completed(run, tmp_path, ends):
    """The rows have another name, or their own, and the journal is still there."""
    file, to = tmp_path / "in.txt", tmp_path / "out.npy"
    file.write_text("one\n" * 300 + "bad \x00\n")
    assert 2 == run("embed", str(file), "--to", str(to)).code
    Path(f"{to}.partial").rename(to.with_suffix(ends[0]))
    assert (0, f"{to}: 256 rows\n", "") == run("embed", str(file), "--to", str(to))
    assert {file, to} == {*tmp_path.iterdir()}


async def test_the_rows_of_a_matrix_have_the_order_of_the_lines(tmp_path):
    file, to = tmp_path / "lines.txt", tmp_path / "vectors.npy"
    file.write_text(lines(3000))
    async with echoing(dimensions=8) as server:
        await run(server, "embed", str(file), "--to", str(to))
    found = np.load(to, mmap_mode="r")
    assert ((3000, 8), np.float32) == (found.shape, found.dtype)
    assert [place % WORDS + 1 for place in range(3000)] == found[:, 0].tolist()


class TestFiles:
    TEXTS = ("the cat", "a dog, or two", 'a "quoted"\nword')

    def written(self, folder: Path, suffix: str) -> Path:
        file = folder / f"in.{suffix}"
        if suffix == "parquet":
            import pyarrow as pa  # noqa: PLC0415 - of an extra
            from pyarrow import parquet  # noqa: PLC0415 - likewise

            parquet.write_table(pa.table({"id": [1, 2, 3], "text": self.TEXTS}), file)
        elif suffix == "csv":
            quoted = ['"' + text.replace('"', '""') + '"' for text in self.TEXTS]
            file.write_text("id,text\n" + "".join(f"1,{text}\n" for text in quoted))
        else:
            file.write_text("".join(json.dumps({"text": text}) + "\n" for text in self.TEXTS))
        return file

    @pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
    def test_texts_come_from_the_column_of_a_file(self, run, tmp_path, suffix):
        to = tmp_path / "out.jsonl"
        output = run("embed", str(self.written(tmp_path, suffix)), "--to", str(to))
        assert (0, f"{to}: 3 rows\n", "") == output
        assert [*self.TEXTS] == [json.loads(line)["text"] for line in to.read_text().splitlines()]

    @pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
    def test_pairs_are_classified_into_a_file(self, run, tmp_path, suffix):
        file, to = tmp_path / "pairs.csv", tmp_path / f"labels.{suffix}"
        file.write_text("hypothesis,premise\nit is wet,it rains\nit is dry,it snows\n")
        assert (0, f"{to}: 2 rows\n", "") == run("classify", str(file), "--to", str(to))
        if suffix == "csv":
            assert 3 == to.read_bytes().count(b"\r\n")  # RFC 4180
        if suffix == "jsonl":
            first = json.loads(to.read_text().splitlines()[0])
            expected = run("classify", "it rains", "it is wet", "--output", "json").document
            (expected,) = expected["results"]
            assert expected["label"] == first["label"]
            assert expected["scores"] == pytest.approx(first["scores"], abs=1e-5)

    def test_a_changed_input_is_refused_by_name_until_it_may_be_overwritten(self, run, tmp_path):
        file, to = tmp_path / "in.txt", tmp_path / "out.jsonl"
        file.write_text("one\n" * 300 + "half \\ud83d\x00\n")
        assert 2 == run("embed", str(file), "--to", str(to)).code  # NUL, in the second batch
        file.write_text("one\ntwo\n")
        output = run("embed", str(file), "--to", str(to))
        advice = f"pass --overwrite to replace {to}"
        assert f"semserve: {file} has changed since {to} was begun: {advice}\n" == output.err
        assert 2 == output.code
        assert 0 == run("embed", str(file), "--to", str(to), "--overwrite").code
        assert 2 == len(to.read_text().splitlines())
        assert "exists: pass --overwrite" in run("embed", str(file), "--to", str(to)).err

    def test_an_invalid_text_is_named_by_its_line_and_may_have_an_empty_row(self, run, tmp_path):
        file, to = tmp_path / "in.txt", tmp_path / "out.npy"
        file.write_text("one\n\nbad \x00\nthree\n")
        output = run("embed", str(file), "--to", str(to))
        assert 2 == output.code
        assert output.err.startswith(f"semserve: {file}: line 3: ")
        output = run("embed", str(file), "--to", str(to), "--allow-partial")
        assert f"{to}: 3 rows, 1 of them without a result\n" == output.out
        assert [False, True, False] == np.isnan(np.load(to)[:, 0]).tolist()

    @pytest.mark.parametrize(
        ("content", "name", "line"),
        [
            (b"a\n\xff\n", "in.txt", "line 2 is not UTF-8"),
            (b'"a"\n{', "in.jsonl", "line 2 is not JSON"),
            (b"a,b\n1,2\n", "in.csv", "no column text; it has a, b: choose with --column"),
            (b"text,b\n1\n", "in.csv", "row 1 has 1 of 2 columns"),
        ],
    )
    def test_a_bad_file_is_one_line(self, run, tmp_path, content, name, line):
        file = tmp_path / name
        file.write_bytes(content)
        output = run("embed", str(file), "--to", str(tmp_path / "out.npy"))
        assert 2 == output.code
        (only,) = output.err.splitlines()
        assert line in only

    @pytest.mark.parametrize(
        ("arguments", "line"),
        [
            (["embed", "absent", "--to", "x.npy"], "absent: No such file or directory"),
            (["embed", "--to", "x.npy"], "with --to, the arguments are the files to read"),
            (["embed", "a", "--overwrite"], "go with --to"),
            (["embed", os.devnull, "--to", "x.txt"], "end its name with one of .npy, .jsonl"),
            (["classify", os.devnull, "--to", "x.npy"], "labels are no numbers"),
        ],
    )
    def test_wrong_usage_is_one_line(self, run, tmp_path, monkeypatch, arguments, line):
        monkeypatch.chdir(tmp_path)
        output = run(*arguments)
        assert 2 == output.code
        (only,) = output.err.splitlines()
        assert line in only


async def test_on_a_terminal_the_rows_have_a_rate_and_the_time_left(tmp_path):
    file, to = tmp_path / "lines.txt", tmp_path / "vectors.npy"
    file.write_text(lines(20_000, words=211))  # takes over a second
    local_end, remote_end = os.openpty()
    async with echoing(dimensions=8) as server:
        command = await asyncio.create_subprocess_exec(
            COMMAND, "embed", str(file), "--to", str(to), stdout=asyncio.subprocess.DEVNULL,
            stderr=remote_end,
            env=os.environ | {"SEMSERVE_ADDRESS": server.address, "TERM": "xterm", "COLUMNS": "99"},
        )  # fmt: skip
        os.close(remote_end)
        shown = await asyncio.to_thread(read_to_the_end, local_end)
        assert 0 == await command.wait()
    assert re.search(
        r"vectors\.npy [\d,]+ rows [\d,]+ rows/s \d:\d\d:\d\d left \d:\d\d:\d\d", shown
    )


def read_to_the_end(terminal: int) -> str:
    """Return what is written to a terminal, without the codes of colours."""
    shown = b""
    try:
        while block := os.read(terminal, 1 << 16):
            shown += block
    except OSError:  # the other end is closed
        pass
    os.close(terminal)
    return re.sub(r"\x1b\[[\d;?]*\w", "", shown.decode())


@pytest.mark.parametrize(("suffix", "rows"), [("txt", 3), ("parquet", 2)])
def test_the_expected_rows_are_the_lines_or_the_rows_of_the_file(tmp_path, suffix, rows):
    file = tmp_path / f"in.{suffix}"
    if suffix == "parquet":
        import pyarrow as pa  # noqa: PLC0415 - of an extra
        from pyarrow import parquet  # noqa: PLC0415 - likewise

        parquet.write_table(pa.table({"text": ["a", "b"]}), file)
    else:
        file.write_text("a\n\nb\n")
    assert rows == expected_rows(file)
