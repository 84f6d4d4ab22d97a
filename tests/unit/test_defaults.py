"""Defaults that are not there: said at the start, harder where somebody has set them."""

from __future__ import annotations

import pytest
from semserve_server.config import Config
from semserve_server.errors import ConfigError
from semserve_server.registry.defaults import check_defaults

ONE = {"a": "embedding", "nli-minilm": "classification"}
TWO = {**ONE, "b": "embedding"}
USUAL = Config().default_embedder


def said(caplog: pytest.LogCaptureFixture, default: str, loaded: dict[str, str]) -> list[str]:
    caplog.clear()
    check_defaults({"embedding": default}, loaded)
    return caplog.messages


def test_the_usual_default_is_missed_where_requests_must_name_a_model(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert [] == said(caplog, USUAL, ONE)
    assert [] == said(caplog, USUAL, {**TWO, USUAL: "embedding"})
    assert [
        f"--default-embedder {USUAL}: this model is not loaded: requests must name one of: a, b"
    ] == said(caplog, USUAL, TWO)


def test_a_default_that_was_set_is_missed_in_any_case(caplog: pytest.LogCaptureFixture) -> None:
    begins = "--default-embedder mine: this model is not loaded: requests"
    assert [f"{begins} that name no model use a, the only one"] == said(caplog, "mine", ONE)
    assert [f"{begins} must name one of: a, b"] == said(caplog, "mine", TWO)
    none = f"{begins} that name no model fail, because no loaded model is an embedding model"
    assert [none] == said(caplog, "mine", {})
    assert [] == said(caplog, "b", TWO)


def test_a_default_of_another_task_is_refused_where_it_was_set() -> None:
    with pytest.raises(ConfigError, match="--default-embedder nli-minilm: that model is not an"):
        check_defaults({"embedding": "nli-minilm"}, ONE)
