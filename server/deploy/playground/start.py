"""Starts Envoy with the page and the JSON routes, and a server if none answers."""

from __future__ import annotations

import argparse
import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc

HERE = Path(__file__).resolve().parent
ENVOY_FILES = HERE.parent / "envoy"
PAGE = {
    "index.html": "text/html; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "calls.js": "text/javascript; charset=utf-8",
    "pictures.js": "text/javascript; charset=utf-8",
    "icon.png": "image/png",
}
"""Content type by the name of a file of the page."""
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}
"""What the browser is told with every file of the page."""
LARGEST_FILE_BYTES = 65536
SERVER_ANSWERS_WITHIN_SECONDS = 1.0
STARTS_WITHIN_SECONDS = 120.0
PAUSE_SECONDS = 0.1
OPEN = "open "
"""How the line begins that names the page's address."""


def main() -> int:
    """Run until a signal or the end of Envoy or of the server; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", default="127.0.0.1:50051", help="HOST:PORT of the server")
    parser.add_argument("--listen", default="127.0.0.1:8080", help="HOST:PORT of the page")
    parser.add_argument("--envoy", default="envoy", help="Envoy's program")
    parser.add_argument("server", nargs="*", help="command that starts the server, if none answers")
    options = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    started: list[subprocess.Popen[bytes]] = []
    try:
        if not _answers(options.address):
            if not options.server:
                return _fail(f"no server answers on {options.address}")
            started.append(subprocess.Popen(options.server))
        configured = configuration(_split(options.address), _split(options.listen))
        started.append(_start_envoy(options.envoy, configured))
        return _watch(started, f"http://{options.listen}/")
    except KeyboardInterrupt:
        return 0
    except (OSError, ValueError) as error:
        return _fail(str(error))
    finally:
        _end(started)


def configuration(server: tuple[str, int], listen: tuple[str, int]) -> str:
    """Return `http.yaml` for these addresses, with a route for each file of the page."""
    text = (ENVOY_FILES / "http.yaml").read_text()
    largest = f"max_direct_response_body_size_bytes: {LARGEST_FILE_BYTES}"
    # YAML holds JSON, so the routes need no indentation of their own.
    page = [f"- {json.dumps(_route(name))}\n" for name in PAGE]
    for old, new in (
        # A port that is taken is an error, and not shared.
        ("- name: http\n", f"- name: http\n{' ' * 6}enable_reuse_port: false\n"),
        ("route_config:\n", f"route_config:\n{' ' * 18}{largest}\n"),
        ("routes:\n", "routes:\n" + "".join(" " * 24 + line for line in page)),
        ("/etc/envoy/http.protoset", json.dumps(str(ENVOY_FILES / "http.protoset"))),
        ("address: 127.0.0.1, port_value: 8080", _place(*listen)),
        ("address: 127.0.0.1, port_value: 50051", _place(*server)),
    ):  # fmt: skip
        if text.count(old) != 1:
            raise ValueError(f"{ENVOY_FILES / 'http.yaml'}: {old.strip()!r} must stand there once")
        text = text.replace(old, new)
    return text


def _route(name: str) -> dict[str, Any]:
    """Return the route that answers with a file; the page itself is at `/`."""
    headers = {"content-type": PAGE[name]} | HEADERS
    return {
        "match": {"path": "/" if name == "index.html" else f"/{name}"},
        "direct_response": {"status": 200, "body": {"filename": str(HERE / name)}},
        "response_headers_to_add": [
            {
                "header": {"key": key, "value": value},
                "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
            }
            for key, value in headers.items()
        ],
    }


def _place(host: str, port: int) -> str:
    return f"address: {json.dumps(host)}, port_value: {port}"


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise ValueError(f"{address}: give HOST:PORT")
    return host.strip("[]"), int(port)


def _answers(address: str) -> bool:
    """Whether a gRPC server is there; a port that refuses connections needs no wait."""
    try:
        socket.create_connection(_split(address), SERVER_ANSWERS_WITHIN_SECONDS).close()
    except OSError:
        return False
    with grpc.insecure_channel(address) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=SERVER_ANSWERS_WITHIN_SECONDS)
        except grpc.FutureTimeoutError:
            return False
    return True


def _start_envoy(envoy: str, configured: str) -> subprocess.Popen[bytes]:
    command = [envoy, "--config-yaml", configured, "--use-dynamic-base-id"]
    return subprocess.Popen([*command, "--concurrency", "2", "--log-level", "error"])


def _watch(started: Sequence[subprocess.Popen[bytes]], url: str) -> int:
    """Print the address when the server answers through Envoy; wait until a process ends."""
    told = False
    give_up = time.monotonic() + STARTS_WITHIN_SECONDS
    while all(process.poll() is None for process in started):
        if not told and _serves(url):
            print(f"{OPEN}{url} (Ctrl-C ends it)", flush=True)
            told = True
        if not told and time.monotonic() > give_up:
            return _fail(f"no answer through Envoy within {STARTS_WITHIN_SECONDS:.0f} s")
        time.sleep(PAUSE_SECONDS)
    ended = next(process for process in started if process.poll() is not None)
    which = "Envoy" if ended is started[-1] else "the server"
    return _fail(f"{which} has ended with exit code {ended.returncode}: its last lines say why")


def _serves(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}v1/models", timeout=1):
            return True
    except urllib.error.HTTPError as error:
        return error.code in {401, 403}  # a server that wants a key
    except OSError:
        return False


def _end(started: Sequence[subprocess.Popen[bytes]]) -> None:
    """End Envoy, then the server, which finishes what it computes."""
    for process in reversed(started):
        process.terminate()
        try:
            process.wait(timeout=30)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            process.kill()
            process.wait()


def _fail(line: str) -> int:
    print(line, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
