"""The served tokenizer: golden ids, truncation, and text that looks like special tokens."""

from __future__ import annotations

import json
import weakref
from pathlib import Path

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from semserve_server.config import Config
from semserve_server.repository.manifest import Bundle, read_bundle
from semserve_server.runtime.tokenizer import PairTruncation, Tokenizer, Truncation, parsed

CUTS = st.sampled_from([Truncation.END, Truncation.START])
LONG = " ".join(["cat"] * 100 + ["dog"] * 100)


@pytest.fixture(scope="module")
def bundle(tiny_models: Path) -> Bundle:
    return read_bundle(tiny_models / "tiny-embed")


@pytest.fixture(scope="module")
def tokenizer(bundle: Bundle) -> Tokenizer:
    return Tokenizer(bundle.tokenizer, max_length=bundle.manifest.max_sequence_length)


@pytest.mark.parametrize("literal", ["[SEP]", "[CLS]", "[PAD]", "[MASK]", "[UNK]", "a [SEP] b"])
def test_a_special_token_in_a_text_is_text(tokenizer: Tokenizer, literal: str) -> None:
    inner = tokenizer.tokens([literal])[0].tokens[1:-1]
    assert not {"[SEP]", "[CLS]", "[PAD]", "[MASK]"} & set(inner)
    assert {"[", "]"} <= set(inner)


def test_the_end_is_cut_and_counted(tokenizer: Tokenizer) -> None:
    whole, cut = (tokenizer.encode([LONG], how)[0] for how in (Truncation.NONE, Truncation.END))
    assert (202, 0) == (len(whole), whole.truncated_tokens)
    assert (64, 138) == (len(cut), cut.truncated_tokens)
    assert [*whole.token_ids[:63], whole.token_ids[-1]] == cut.token_ids


def test_the_start_is_cut_where_asked(tokenizer: Tokenizer) -> None:
    whole, cut = (tokenizer.encode([LONG], how)[0] for how in (Truncation.NONE, Truncation.START))
    assert [whole.token_ids[0], *whole.token_ids[-63:]] == cut.token_ids


def test_the_longer_side_of_a_pair_is_cut_first(tokenizer: Tokenizer) -> None:
    short = tokenizer.encode(["a dog"], Truncation.END)[0]
    cut = tokenizer.encode([("a dog", LONG)], Truncation.END)[0]
    assert 64 == len(cut)
    assert short.token_ids == cut.token_ids[: len(short)]
    assert [0] * len(short) + [1] * (64 - len(short)) == cut.segment_ids


@given(first=st.integers(0, 40), second=st.integers(0, 40), limit=st.integers(3, 40), how=CUTS)
def test_a_pair_is_cut_as_the_tokenizers_library_cuts_it(
    bundle: Bundle, first: int, second: int, limit: int, how: Truncation
) -> None:
    pair = " ".join(f"cat {n}" for n in range(first)), " ".join(["a dog"] * second)
    library = tokenizers.Tokenizer.from_str(bundle.tokenizer)
    library.no_padding()
    library.enable_truncation(limit, strategy="longest_first", direction=how.value)
    for item in (pair, pair[0]):
        expected = library.encode_batch_fast([item])[0]
        actual = Tokenizer(bundle.tokenizer, max_length=limit).encode([item], how)[0]
        assert (expected.ids, expected.type_ids) == (actual.token_ids, actual.segment_ids)


@given(first=st.integers(0, 40), second=st.integers(0, 40), limit=st.integers(3, 40), how=CUTS)
@pytest.mark.parametrize("rule", ["round_robin", "waterfall"])
def test_a_pair_is_cut_by_the_rule_of_its_bundle(
    bundle: Bundle, rule: PairTruncation, first: int, second: int, limit: int, how: Truncation
) -> None:
    """The texts get one token each in turn, or the first text all, while there is room."""
    kept, room = [0, 0], limit - 3
    order = [0] * first + [1] * second if rule == "waterfall" else [0, 1] * max(first, second)
    for text in order:
        if sum(kept) < room and kept[text] < (first, second)[text]:
            kept[text] += 1
    pair = " ".join(["cat"] * first), " ".join(["dog"] * second)
    tokenizer = Tokenizer(bundle.tokenizer, max_length=limit, pair_truncation=rule)
    segments = tokenizer.encode([pair], how)[0].segment_ids
    assert [0] * (kept[0] + 2) + [1] * (kept[1] + 1) == segments


@pytest.mark.parametrize("how", [Truncation.END, Truncation.START])
def test_a_pair_of_texts_of_the_most_bytes_is_cut_as_a_shorter_one(
    tokenizer: Tokenizer, how: Truncation
) -> None:
    """Its cost grows with its length: joined with each other, the parts cut off need gigabytes."""
    longest = " ".join(["cat"] * (Config().max_text_bytes // 4))
    shorter = " ".join(["cat"] * 64)
    whole = 2 * len(longest.split()) + 3
    (cut,) = tokenizer.encode([(longest, longest)], how)
    assert tokenizer.encode([(shorter, shorter)], how)[0].token_ids == cut.token_ids
    assert whole - 64 == cut.truncated_tokens


def test_a_text_of_exactly_the_limit_is_whole(tokenizer: Tokenizer) -> None:
    fits = tokenizer.encode([" ".join(["cat"] * 62)], Truncation.END)[0]
    assert (64, 0) == (len(fits), fits.truncated_tokens)


def test_neighbours_do_not_change_how_a_text_is_read(tokenizer: Tokenizer) -> None:
    texts = ["a", LONG, "the cat sat", "…", "ZZZ"]
    together = tokenizer.encode(texts, Truncation.END)
    assert [tokenizer.encode([text], Truncation.END)[0] for text in texts] == together


@given(
    premise=st.lists(st.sampled_from(["a", "cat", "dog"]), max_size=20).map(" ".join),
    hypothesis=st.lists(st.sampled_from(["a", "cat", "dog"]), max_size=20).map(" ".join),
    limit=st.integers(5, 30),
    how=st.sampled_from([*Truncation]),
)
def test_hypothesis_first_is_the_pair_the_other_way_round(
    bundle: Bundle, premise: str, hypothesis: str, limit: int, how: Truncation
) -> None:
    plain = Tokenizer(bundle.tokenizer, max_length=limit)
    turned = Tokenizer(bundle.tokenizer, max_length=limit, hypothesis_first=True)
    assert plain.encode([(hypothesis, premise)], how) == turned.encode([(premise, hypothesis)], how)
    assert plain.encode([premise], how) == turned.encode([premise], how)


@given(
    pair=st.tuples(
        *[st.lists(st.sampled_from(["a", "cat", "dog"]), max_size=12).map(" ".join)] * 2
    ),
    first=st.booleans(),
    how=CUTS,
)
def test_separate_texts_are_each_encoded_as_a_text_alone(
    bundle: Bundle, pair: tuple[str, str], how: Truncation, *, first: bool
) -> None:
    plain = Tokenizer(bundle.tokenizer, max_length=8)
    separate = Tokenizer(bundle.tokenizer, max_length=8, separate=True, hypothesis_first=first)
    (made,) = separate.encode([pair], how)
    left, right = plain.encode(list(pair[::-1] if first else pair), how)
    assert (left.token_ids, right.token_ids) == (made.token_ids, made.right_ids)
    assert left.truncated_tokens + right.truncated_tokens == made.truncated_tokens
    assert left.segment_ids == made.segment_ids


def test_models_share_an_equal_definition_and_the_last_one_frees_it(bundle: Bundle) -> None:
    definition = json.dumps(json.loads(bundle.tokenizer), indent=1)
    models = [Tokenizer(definition, max_length=length) for length in (8, 64)]
    shared = weakref.ref(parsed(definition))
    assert shared() is not parsed(bundle.tokenizer)
    del models[0]
    assert shared() is parsed(definition)
    assert 8 < len(models[0].encode([LONG], Truncation.END)[0])
    del models[0]
    assert None is shared()
