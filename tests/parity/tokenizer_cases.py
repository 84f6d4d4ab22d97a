"""Directories with something odd about their tokenizer, each with what a reference says of them."""

from pathlib import Path
from typing import Any

from parity import hugging_face as hf
from parity import hugging_face_tokenizers as tokens
from parity.directory_cases import TEXTS, Expected, Write, embedder
from tokenizers import AddedToken, processors


def with_words(path: Path) -> Expected:
    """Add two words and train them, one of them as a special token."""
    tokenizer = tokens.bert_tokenizer()
    tokenizer.add_tokens([AddedToken("covid19", normalized=True)])
    tokenizer.add_special_tokens([AddedToken("[QUERY]", single_word=True, rstrip=True)])
    reference = hf.write_directory(path, tokenizer=tokenizer)
    texts = ("covid19 sat", "the covid19cat", "[QUERY] the cat", "x[QUERY]y", "Covid19, covid 19")
    return embedder(reference, tokenizer, texts=texts)


def slow_bert(**config: Any) -> Write:
    """Write what a slow BERT tokenizer leaves: vocab.txt, flags, no tokenizer.json."""

    def write(path: Path) -> Expected:
        reference = hf.write_directory(path, tokenizer_config=config)
        (path / "tokenizer.json").unlink()
        vocabulary = "\n".join(tokens.WORD_PIECES) + "\n"
        (path / "vocab.txt").write_text(vocabulary, encoding="utf-8")
        tokenizer = tokens.bert_tokenizer(
            lowercase=config.get("do_lower_case", True),
            strip_accents=config.get("strip_accents"),
            handle_chinese_chars=config.get("tokenize_chinese_chars", True),
        )
        return embedder(reference, tokenizer, texts=(*TEXTS, "日本 今日", "CAFÉ Sat"))

    return write


def slow_added(path: Path) -> Expected:
    """Write added_tokens.json beside vocab.txt, as F05's directories have it."""
    words = len(tokens.WORD_PIECES)
    expected = slow_bert()(path)
    hf.write_json(path / "added_tokens.json", {"[QUERY]": words, "covid19": words + 1})
    names = {"additional_special_tokens": ["[QUERY]"], "sep_token": "[SEP]", "cls_token": "[CLS]"}
    hf.write_json(path / "special_tokens_map.json", names)
    tokenizer = tokens.bert_tokenizer()
    tokenizer.add_special_tokens([AddedToken("[QUERY]", normalized=False)])
    tokenizer.add_tokens([AddedToken("covid19", normalized=True)])
    return Expected(
        row=expected.row, tokenizer=tokenizer, texts=("covid19 sat", "[QUERY] the cat", "COVID19")
    )


def slow_roberta(path: Path) -> Expected:
    reference = hf.write_directory(path, "roberta", tokenizer_config={"add_prefix_space": True})
    (path / "tokenizer.json").unlink()
    vocabulary, merges = tokens.byte_pairs()
    hf.write_json(path / "vocab.json", vocabulary)
    (path / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", "utf-8")
    return embedder(reference, tokens.roberta_tokenizer(add_prefix_space=True))


def slow_pieces(family: str, file: str, model: str, **config: Any) -> Write:
    """Write a SentencePiece model alone, as the slow tokenizer of a family leaves it."""

    def write(path: Path) -> Expected:
        reference = hf.write_directory(path, family, tokenizer_config=config)
        (path / "tokenizer.json").unlink()
        (path / file).write_bytes(tokens.sentence_piece_model(model))
        # Of ALBERT's two tokenizers in transformers, the slow one takes blanks off the end.
        texts = tuple(text.strip() for text in TEXTS)
        return embedder(reference, tokens.TOKENIZERS[family](), texts=texts)

    return write


def separators_of_other_names(path: Path) -> Expected:
    """Call [CLS] and [SEP] otherwise, as words that a text may have."""
    names = {"cls_token": "hello", "sep_token": "boat"}
    reference = hf.write_directory(path, tokenizer_config=names)
    (path / "tokenizer.json").unlink()
    (path / "vocab.txt").write_text("\n".join(tokens.WORD_PIECES) + "\n", encoding="utf-8")
    tokenizer = tokens.bert_tokenizer()
    ids = {piece: place for place, piece in enumerate(tokens.WORD_PIECES)}
    tokenizer.post_processor = processors.BertProcessing(
        ("boat", ids["boat"]), ("hello", ids["hello"])
    )
    return embedder(reference, tokenizer, texts=("the cat sat", "café 12"))
