"""An adapter whose library is not installed says what installs it."""

from __future__ import annotations

import importlib.util

import pytest


@pytest.mark.parametrize(
    ("module", "library", "extra"),
    [
        ("langchain", "langchain_core", "langchain"),
        ("llama_index", "llama_index", "llama-index"),
        ("haystack", "haystack", "haystack"),
    ],
)
def test_the_error_names_the_extra(module: str, library: str, extra: str) -> None:
    if importlib.util.find_spec(library):
        pytest.skip(f"{library} is installed: `make test` runs this")
    with pytest.raises(ModuleNotFoundError, match=rf"pip install 'semserve\[{extra}\]'"):
        importlib.import_module(f"semserve.integrations.{module}")
