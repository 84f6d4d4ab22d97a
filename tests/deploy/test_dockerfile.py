"""The Dockerfile copies what the repository has, and starts the server as the chart expects."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from conftest import ROOT
from semserve.cli import main
from semserve_server.__main__ import app
from semserve_server.config import Config

DOCKERFILE = ROOT / "server" / "deploy" / "docker" / "Dockerfile"
JOINED = DOCKERFILE.read_text().replace("\\\n", " ")
LINES = [line for line in JOINED.splitlines() if line and not line.startswith("#")]
RUNTIME = LINES[max(at for at, line in enumerate(LINES) if line.startswith("FROM ")) :]
"""The instructions of the last stage, which is the image."""


def of_kind(name: str, lines: list[str]) -> list[str]:
    """Return the arguments of each instruction of this name."""
    return [line.partition(" ")[2] for line in lines if line.startswith(f"{name} ")]


def copied() -> list[str]:
    """Return the paths in the repository that are copied, for each device."""
    sources = [
        source.replace("${DEVICE}", device)
        for line in of_kind("COPY", LINES)
        for device in ("cpu", "gpu")
        if "--from=" not in line
        for source in shlex.split(line)[:-1]
    ]
    return list(dict.fromkeys(sources))


def config() -> Config:
    """Return the settings that the arguments of the image mean."""
    _, bound, _ = app.parse_args(
        json.loads(of_kind("CMD", RUNTIME)[0]), exit_on_error=False, print_error=False
    )
    (found,) = (one for one in bound.arguments.values() if isinstance(one, Config))
    return found


@pytest.mark.parametrize("source", copied())
def test_what_is_copied_is_in_the_repository_and_in_the_context(source: str) -> None:
    assert (ROOT / source).exists()
    context = (ROOT / ".dockerignore").read_text().splitlines()
    first = Path(source).parts[0]
    assert "*" in context
    assert f"!{first}" in context
    assert source not in context


def test_packages_are_installed_by_their_hashes_or_without_dependencies() -> None:
    installs = re.findall(r"\bpip install [^&]*", " ".join(of_kind("RUN", LINES)))
    assert installs
    for one in installs:
        assert "--require-hashes" in one or "--no-deps --no-build-isolation" in one
        assert "--no-compile" in one  # else the times of files come into the image


def test_both_stages_have_one_base_image_which_can_be_pinned() -> None:
    assert ["${PYTHON_IMAGE} AS build", "${PYTHON_IMAGE}"] == of_kind("FROM", LINES)
    assert not of_kind("ADD", LINES)


def test_the_image_runs_as_the_user_of_the_chart() -> None:
    deployment = ROOT / "server/deploy/helm/semserve/templates/deployment.yaml"
    (user,) = re.findall(r"runAsUser: (\d+)", deployment.read_text())
    assert [f"{user}:{user}"] == of_kind("USER", RUNTIME)
    assert f":x:{user}:" in " ".join(of_kind("RUN", RUNTIME))


def test_the_server_accepts_the_arguments_of_the_image() -> None:
    assert ["semserve-server"] == json.loads(of_kind("ENTRYPOINT", RUNTIME)[0])
    assert [str(config().models)] == of_kind("VOLUME", RUNTIME)
    assert [config().address.rpartition(":")[2]] == of_kind("EXPOSE", RUNTIME)


def test_the_health_check_of_the_image_finds_a_server_that_serves(
    server_address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    program, *arguments = json.loads(of_kind("HEALTHCHECK", RUNTIME)[0].partition(" CMD ")[2])
    assert "semserve" == program
    at = arguments.index(f"127.0.0.1:{config().address.rpartition(':')[2]}")
    with pytest.raises(SystemExit) as ended:
        main([*arguments[:at], server_address, *arguments[at + 1 :]])
    assert 0 == ended.value.code
    assert "serving\n" == capsys.readouterr().out


@pytest.mark.parametrize("file", ["docker/Dockerfile", "README.md"])
def test_the_documented_docker_run_gives_the_drain_its_time(file: str) -> None:
    """`docker stop` kills after 10 s, unless `docker run` says otherwise."""
    (line,) = re.findall(r"docker run .*", (ROOT / "server" / "deploy" / file).read_text())
    seconds = int(line.split("--stop-timeout ")[1].split()[0])
    assert seconds >= config().drain_delay + config().drain_timeout + 5
