"""The blocks of the client's README that use other libraries run as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

for library in ("langchain_core", "llama_index.core", "haystack"):
    pytest.importorskip(library, reason=f"{library} is not there: `make test-integrations`")

README = Path(__file__).parents[2] / "clients" / "python" / "README.md"
BLOCKS = [
    code
    for code in re.findall(r"^```python\n(.*?)^```$", README.read_text(), re.DOTALL | re.MULTILINE)
    if "semserve.integrations" in code
]


def test_each_library_has_a_block() -> None:
    for library in ("langchain", "llama_index", "haystack", "sentence_transformers"):
        assert [code for code in BLOCKS if f"semserve.integrations.{library} " in code]


@pytest.mark.parametrize("code", BLOCKS)
def test_the_examples_run(code: str, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(code, README, "exec"), {})  # noqa: S102
    assert capsys.readouterr().out
