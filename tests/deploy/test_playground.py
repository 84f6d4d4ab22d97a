"""`make playground`: the page from the real Envoy, its calls, and the page in a browser."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import browsing
import pytest
import tiny_kinds
from conftest import CALIBRATIONS, ROOT
from html_document import Document

ENVOY = ROOT / ".tools" / "envoy" / "bin" / "envoy"
PAGE = ROOT / "server" / "deploy" / "playground"
TYPES = {
    "": "text/html",
    "style.css": "text/css",
    "page.js": "text/javascript",
    "calls.js": "text/javascript",
    "pictures.js": "text/javascript",
    "icon.png": "image/png",
}
SCRIPT = (PAGE / "calls.js").read_text()
CALLS = json.loads(re.findall(r"export const CALLS = (\{.*?\n\});", SCRIPT, re.DOTALL)[0])
VALUES: dict[str, dict[str, Any]] = {
    "server": {},
    "models": {},
    "similarity": {"model": "tiny-embed", "texts": ["a man", "two dogs", "a man"]},
    "classify": {"model": "tiny-nli", "premise": "a man", "hypothesis": "two dogs"},
    "rank": {"query": "two dogs", "documents": ["a man", "two dogs"]},
    "rerank": {"model": "tiny-score", "query": "two dogs", "documents": ["a man", "two dogs"]},
}
CONTROLS = {"textbox", "combobox", "button", "link", "table", "region"}
needs_envoy = pytest.mark.skipif(
    not ENVOY.is_file(), reason="Envoy is not installed: run `make .tools/envoy/.ready`"
)
needs_browser = pytest.mark.skipif(
    browsing.PROGRAM is None,
    reason="no browser is installed: Debian's is `apt-get install chromium`",
)
pytestmark = pytest.mark.xdist_group("playground")


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def start(address: str, listen: str, *server: str) -> subprocess.Popen[str]:
    command = [
        sys.executable, PAGE / "start.py", "--address", address, "--listen", listen,
        "--envoy", ENVOY, "--", *server,
    ]  # fmt: skip
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"SEMSERVE_CACHE_DIR": CALIBRATIONS},
    )


@dataclass(frozen=True, slots=True)
class Playground:
    """The running command, where its server answers, and what it printed."""

    process: subprocess.Popen[str]
    server: str
    line: str

    def end(self) -> str:
        """Press Ctrl-C; what the command and its server said last."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.process.communicate(timeout=30)[1].splitlines()[-1]


@pytest.fixture(scope="module")
def playground(tiny_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Playground]:
    """The command with a server that has a model of each kind that the page calls."""
    models = tmp_path_factory.mktemp("playground")
    for name in ("tiny-embed", "tiny-nli"):
        shutil.copytree(tiny_models / name, models / name)
    tiny_kinds.scorer("tiny-score", scores="sigmoid").write(models)
    address = f"127.0.0.1:{free_port()}"
    server = ("-m", "semserve_server", "--models", str(models), "--address", address)
    process = start(address, f"127.0.0.1:{free_port()}", sys.executable, *server)
    assert process.stdout is not None
    running = Playground(process, address, process.stdout.readline())
    yield running
    if process.poll() is None:
        running.end()


@pytest.fixture(scope="module")
def url(playground: Playground) -> str:
    """The address of the page, as the command prints it."""
    return re.findall(r"^open (http://127\.0\.0\.1:\d+/) ", playground.line)[0]


@dataclass(frozen=True, slots=True)
class Answer:
    code: int
    headers: Any
    body: bytes


def ask(method: str, address: str, body: Any = None) -> Answer:
    request = urllib.request.Request(
        address,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"content-type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return Answer(response.status, response.headers, response.read())
    except urllib.error.HTTPError as error:
        return Answer(error.code, error.headers, error.read())


def fill(template: Any, values: dict[str, Any]) -> Any:
    """Put values into a body, as `fill` of calls.js does."""
    if isinstance(template, list):
        return [fill(item, values) for item in template]
    if isinstance(template, dict):
        filled = {name: fill(item, values) for name, item in template.items()}
        return {name: item for name, item in filled.items() if item is not None}
    return values.get(template[1:]) if template.startswith("$") else template


@needs_envoy
@pytest.mark.parametrize("name", TYPES)
def test_each_file_of_the_page_has_its_type_and_the_policy(url: str, name: str) -> None:
    answer = ask("GET", url + name)
    assert (200, TYPES[name]) == (answer.code, answer.headers.get_content_type())
    assert (PAGE / (name or "index.html")).read_bytes() == answer.body
    policy = answer.headers["content-security-policy"].split("; ")
    assert {"default-src 'none'", "script-src 'self'", "connect-src 'self'"} <= set(policy)
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert "nosniff" == answer.headers["x-content-type-options"]


@needs_envoy
@pytest.mark.parametrize("name", CALLS)
def test_each_call_of_the_page_gives_the_fields_that_it_shows(url: str, name: str) -> None:
    call = CALLS[name]
    body = fill(call["body"], VALUES[name]) if "body" in call else None
    answer = ask(call["method"], url.rstrip("/") + call["path"], body)
    assert 200 == answer.code, answer.body
    reported = json.loads(answer.body)
    assert set(call["fields"]) <= set(reported)
    assert VALUES[name].get("model", reported.get("model")) == reported.get("model")
    assert int(answer.headers["x-envoy-upstream-service-time"]) >= 0


@needs_envoy
def test_an_error_is_one_line_that_names_the_field(url: str) -> None:
    call = CALLS["similarity"]
    body = fill(call["body"], {"texts": ["a", ""]})
    answer = ask(call["method"], url.rstrip("/") + call["path"], body)
    assert (400, "left[1]: is empty") == (answer.code, json.loads(answer.body)["message"])


@needs_envoy
def test_without_a_server_and_a_command_one_line_says_so() -> None:
    address = f"127.0.0.1:{free_port()}"
    process = start(address, f"127.0.0.1:{free_port()}")
    _, output = process.communicate(timeout=30)
    assert (1, f"no server answers on {address}\n") == (process.returncode, output)


@needs_envoy
def test_a_port_that_is_taken_is_refused(url: str, playground: Playground) -> None:
    process = start(playground.server, urllib.parse.urlsplit(url).netloc)
    _, output = process.communicate(timeout=30)
    assert 1 == process.returncode
    assert "Envoy has ended with exit code 1" in output.splitlines()[-1]


def rendered(url: str, scratch: Path, **parameters: str) -> Document:
    """Open the page in the browser; the document after its calls."""
    assert browsing.PROGRAM is not None
    options = [*browsing.OPTIONS, f"--user-data-dir={scratch}"]
    address = f"{url}?{urllib.parse.urlencode(parameters)}"
    dumped = subprocess.run(
        [browsing.PROGRAM, *options, "--virtual-time-budget=20000", "--dump-dom", address],
        capture_output=True, text=True, timeout=60, check=True,
    ).stdout  # fmt: skip
    return Document(dumped)


@needs_envoy
@needs_browser
def test_a_browser_shows_the_answers(url: str, tmp_path: Path) -> None:
    document = rendered(
        url, tmp_path, run="similarity,classify,rank", texts="a man\n<b>two</b> dogs\na man",
        premise="a man", hypothesis="two dogs", query="two dogs", documents="a man\ntwo dogs",
    )  # fmt: skip
    assert "true" == document.named("html")[0]["data-ready"]
    texts = document.texts
    assert "3 of 3 models ready" in texts["models-status"]
    assert {"tiny-embed", "tiny-nli", "tiny-score", "ready"} <= set(texts["models-answer"])
    assert "Most alike: 1 and 3, 1.00" in texts["similarity-status"]
    assert "Model: tiny-embed" in texts["similarity-status"]
    assert "Truncated: nothing" in texts["similarity-status"]
    assert any(re.fullmatch(r"Time: \d+ ms, the server \d+ ms", one) for one in
               texts["similarity-status"])  # fmt: skip
    assert "2 <b>two</b> dogs" in texts["similarity-answer"]
    numbers = [one for one in texts["similarity-answer"] if re.fullmatch(r"-?\d\.\d\d", one)]
    assert (9, 5) == (len(numbers), numbers.count("1.00"))
    assert {"row", "col"} <= {cell["scope"] for cell in document.named("th")}
    assert 1 == texts["classify-answer"].count("highest")
    assert "Best: two dogs" in texts["rank-status"]
    assert not [one for one in texts if one.endswith("-error")]


@needs_envoy
@needs_browser
def test_a_browser_shows_the_servers_error(url: str, tmp_path: Path) -> None:
    texts = rendered(url, tmp_path, run="similarity,classify", texts="", premise="").texts
    assert ["left: is empty: at least one is needed"] == texts["similarity-error"]
    assert ["pairs[0].premise: is empty"] == texts["classify-error"]
    assert "similarity-status" not in texts


@needs_envoy
@needs_browser
def test_the_keyboard_alone_reaches_and_runs_every_form(url: str, tmp_path: Path) -> None:
    page = browsing.Page(url, tmp_path)
    try:
        page.wait("document.documentElement?.dataset.ready")
        reached = []
        for _ in range(40):
            page.press("Tab")
            at = page.value("document.activeElement.id || document.activeElement.textContent")
            reached.append(at.strip())
            if at == "texts":
                page.press("Enter", browsing.CONTROL)
                page.wait("document.querySelector('#similarity-answer td')")
            if at == "hypothesis":
                page.press("Enter")
                page.wait("document.querySelector('#classify-answer td')")
            if at == "Rank the documents":
                page.press("Enter")
                page.wait("document.querySelector('#rank-answer td')")
                break
        assert "Skip to the forms" == reached[0]
        order = ["key", "texts", "similarity-model", "premise", "hypothesis", "classify-model"]
        order += ["query", "documents", "rank-model", "Rank the documents"]
        assert order == [at for at in reached if at in order]
        tree = page.send("Accessibility.getFullAXTree")["nodes"]
        controls = [node for node in tree if node["role"]["value"] in CONTROLS]
        assert 14 <= len(controls)
        assert [] == [node for node in controls if not node["name"]["value"]]
        page.send("Emulation.setDeviceMetricsOverride", width=360, height=700,
                  deviceScaleFactor=1, mobile=True)  # fmt: skip
        assert 360 == page.value("document.documentElement.scrollWidth")
        # Nothing breaks the policy, no script fails, and no file is missing.
        assert [] == page.errors
    finally:
        page.close()


# The last test, since it ends what the others use.
@needs_envoy
def test_ctrl_c_ends_the_server_that_the_command_started(playground: Playground) -> None:
    output = playground.end()
    assert (0, True) == (playground.process.returncode, output.endswith("stopped"))
