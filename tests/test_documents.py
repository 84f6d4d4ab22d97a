"""What the documents show is what happens."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import CALIBRATIONS, ROOT, running_server
from load.__main__ import app as bench
from semserve import Client

README = (ROOT / "README.md").read_text()
DEFAULT_ADDRESS = "127.0.0.1:50051"


def blocks(language: str, document: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", document, re.DOTALL | re.MULTILINE)


def commands(document: Path, language: str, beginning: str) -> list[list[str]]:
    """Split the lines of a document's blocks that begin so into words; comments are left out."""
    lines = "\n".join(blocks(language, document.read_text())).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True) for line in lines if line.startswith(beginning)]


def test_the_readmes_python_prints_what_it_says(real_address: str) -> None:
    (code,) = blocks("python")
    (expected,) = re.findall(r"print\(.*# (.*)$", code, re.MULTILINE)
    printed = subprocess.run(
        [sys.executable, "-c", code.replace(DEFAULT_ADDRESS, real_address)],
        capture_output=True, text=True, check=True, timeout=60,
    ).stdout  # fmt: skip
    assert expected == printed.strip()


def test_the_readmes_commands_print_what_it_shows(real_address: str) -> None:
    (session,) = blocks("console")
    shown = re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", session, re.MULTILINE)
    assert shown
    for command, expected in shown:
        assert expected == output(command, real_address)


@pytest.mark.parametrize("command", [
    line for block in blocks("sh") for line in block.splitlines()
    if line.startswith(".venv/bin/semserve ")
])  # fmt: skip
def test_the_readmes_other_commands_work(command: str, real_address: str, tmp_path: Path) -> None:
    assert output(command.replace("heatmap.png", str(tmp_path / "heatmap.png")), real_address)


def test_the_scores_of_the_readmes_table_are_the_models(real_address: str) -> None:
    rows = re.findall(r"\| ([^|/]+) / ([^|/]+) \| (0\.\d\d) \|", README)
    assert len(rows) >= 6
    with Client(real_address) as client:
        found = client.compare([(left, right) for left, right, _ in rows])
    shown = [float(score) for *_, score in rows]
    assert shown == pytest.approx([float(score) for score in found], abs=0.00501)


def test_the_servers_readmes_python_prints_what_it_says(real_models: Path) -> None:
    code = "\n".join(blocks("python", (ROOT / "server" / "README.md").read_text()))
    expected = re.findall(r"print\(.*\)  # (.*)$", code, re.MULTILINE)
    cached = f'device="cpu", cache_dir={CALIBRATIONS!r}'
    printed = subprocess.run(
        [sys.executable, "-c", code.replace('device="cpu"', cached)],
        cwd=real_models.parent, capture_output=True, text=True, check=True, timeout=60,
    ).stdout  # fmt: skip
    assert expected == printed.splitlines()


SERVERS = commands(ROOT / "server" / "README.md", "sh", "semserve-server --models")


@pytest.mark.parametrize("command", SERVERS, ids=" ".join)
def test_the_servers_readme_starts_servers(command: list[str], tiny_models: Path) -> None:
    """On free ports, over the tiny bundles; `test_secured` runs the lines of keys and TLS."""
    free = [re.sub(r"^127\.0\.0\.1:\d+$", "127.0.0.1:0", word) for word in command[1:]]
    words = [str(tiny_models) if word == "models" else word for word in free]
    with running_server(*words) as server:
        assert "tiny-embed" in server.line


BENCHES = commands(ROOT / "tests" / "load" / "README.md", "console", "$ make bench BENCH_ARGS=")


@pytest.mark.parametrize("command", BENCHES, ids=" ".join)
def test_the_flags_of_the_benchs_readme_are_flags_of_the_bench(command: list[str]) -> None:
    flags = shlex.split(command[3].removeprefix("BENCH_ARGS="))
    assert bench.parse_args(flags, exit_on_error=False, print_error=False)


def test_every_readme_with_commands_is_tried() -> None:
    """READMEs whose commands a test runs or reads; `make` targets and installs are CI's."""
    documents = {str(path.relative_to(ROOT)) for path in readmes() if "```" in path.read_text()}
    assert {
        "README.md", "server/README.md", "tests/load/README.md",  # here
        "clients/go/README.md",  # test_go
        # test_languages
        *(f"clients/{name}/README.md" for name in ("cpp", "java", "node", "rust")),
        "clients/python/README.md",  # test_python_readme
        "export/README.md",  # parity/test_documents
    } == documents - {"server/deploy/README.md"}  # fmt: skip


def readmes() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "*README.md"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    return [ROOT / line for line in listed.splitlines()]


def output(command: str, address: str) -> str:
    """Run a line of the README; what it prints, without the blanks that end lines."""
    ran = subprocess.run(
        shlex.split(command),
        cwd=ROOT,
        env=os.environ | {"SEMSERVE_ADDRESS": address, "COLUMNS": "100"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert 0 == ran.returncode, ran.stderr
    return "".join(f"{line.rstrip()}\n" for line in ran.stdout.splitlines())


def test_the_list_of_flags_is_fresh() -> None:
    """After a change of the settings: `make docs`."""
    # In an interpreter of its own, since the list names commands by how the process was started.
    write = "from semserve_server.__main__ import app; print(app.generate_docs())"
    written = subprocess.run(
        [sys.executable, "-c", write], capture_output=True, text=True, check=True
    ).stdout
    assert written.strip() == (ROOT / "server" / "FLAGS.md").read_text().strip()


def test_links_between_documents_lead_somewhere() -> None:
    for document in {*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *readmes()}:
        for link in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
            if "://" not in link:
                assert (document.parent / link).exists(), f"{document.name}: {link}"
