"""What is done when a request ends."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from semserve_server.auth.api_key import new_key
from semserve_server.auth.key_file import add_key
from semserve_server.auth.key_store import PRINCIPAL, KeyStore
from semserve_server.errors import InferenceFailed
from semserve_server.instrumentation.request_context import (
    CallMetadata,
    RequestContext,
    current_name,
)
from semserve_server.observability.logs import TextFormatter
from semserve_server.observability.recorder import Recorder


def request(recorder: Recorder, *, is_stream: bool = False) -> RequestContext:
    method = recorder.method("a.Service", "Method", streaming=is_stream)
    caller = CallMetadata([("x-request-id", "order-17")])
    return RequestContext(method, caller, lambda: None, recorder.ended, is_stream=is_stream)


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Lines as they are written at the level info, while the request is the current one."""
    caplog.set_level(logging.INFO)
    caplog.handler.setFormatter(TextFormatter())
    return caplog


def test_a_fault_of_ours_is_logged_for_whom_it_hit(lines: pytest.LogCaptureFixture) -> None:
    with request(Recorder()) as one:
        one.set_error("INTERNAL", InferenceFailed())
    assert " ERROR " in lines.text
    assert "[order-17] a.Service/Method failed" in lines.text


def test_nothing_is_logged_of_a_request_unless_asked_for(lines: pytest.LogCaptureFixture) -> None:
    with request(Recorder()):
        pass
    assert "" == lines.text


def test_the_access_log_names_the_key_and_never_tells_it(
    lines: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    presented, key = new_key("crawler", models=None, tokens_per_second=None)
    add_key(tmp_path / "keys", key)
    token = PRINCIPAL.set(KeyStore(tmp_path / "keys").principal(presented))
    try:
        with request(Recorder(access_log=True)):
            pass
    finally:
        PRINCIPAL.reset(token)
    assert "[order-17] a.Service/Method OK duration_ms=" in lines.text
    assert "key=crawler" in lines.text
    assert presented not in lines.text


def test_a_streams_messages_are_traced_and_not_the_stream() -> None:
    traced: list[str] = []
    recorder = Recorder(trace=lambda one: traced.append(one.name))
    with request(recorder, is_stream=True) as stream:
        for _ in range(2):
            with stream.message():
                pass
    assert ["order-17/1", "order-17/2"] == traced
    assert "order-17/2" == current_name()


@pytest.mark.parametrize("given", ["", "two words", "a/1", "x" * 129, "naïve", "a\nb"])
def test_an_id_that_could_be_taken_for_something_else_is_replaced(given: str) -> None:
    assert given != CallMetadata([("x-request-id", given)]).request_id
    assert "x" * 128 == CallMetadata([("x-request-id", "x" * 128)]).request_id


def test_a_request_that_cannot_be_traced_or_logged_is_answered_all_the_same(
    lines: pytest.LogCaptureFixture,
) -> None:
    def fails(_: RequestContext) -> None:
        raise ValueError("the tracer is broken")

    recorder = Recorder(trace=fails)
    with request(recorder):
        pass
    assert 1 == recorder.methods[0].requests.codes["OK"]
    assert "the tracer is broken" in lines.text
