"""Several tokenizer threads give what one gives, in the order of the texts."""

from __future__ import annotations

from pathlib import Path

import pytest
from semserve_server.runtime.tokenizer import Tokenizer, Truncation
from semserve_server.runtime.tokenizer_thread import SHARED_CHUNK_CHARACTERS, TokenizerThread

TEXTS = [f"text {n} " + "word " * (n % 50) for n in range(500)]


@pytest.mark.parametrize("threads", [1, 3])
async def test_each_text_has_the_encoding_that_it_has_alone(
    tiny_models: Path, threads: int
) -> None:
    definition = (tiny_models / "tiny-embed" / "tokenizer.json").read_text()
    tokenizer = Tokenizer(definition, max_length=32)
    assert sum(map(len, TEXTS)) > 2 * threads * SHARED_CHUNK_CHARACTERS
    thread = TokenizerThread(tokenizer, "tiny", max_characters=10**6, threads=threads)
    try:
        found = await thread.encode(TEXTS, Truncation.END)
    finally:
        thread.close()
    assert [tokenizer.encode([text], Truncation.END)[0].token_ids for text in TEXTS] == [
        one.token_ids for one in found
    ]
    assert threads == len(thread.workers)
