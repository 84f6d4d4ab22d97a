"""Reads the positions of a family's special tokens from KerasHub's packer."""

from typing import Any

from tokenizers import Tokenizer, processors


def add_special_tokens(tokenizer: Tokenizer, preprocessor: Any) -> None:
    """Set the post-processor of a tokenizer to add special tokens as the preprocessor does.

    BERT's become `[CLS] a [SEP] b [SEP]`, RoBERTa's `<s> a </s></s> b </s>`. They are not
    registered with the tokenizer, so that their names in a text are text.

    Args:
        tokenizer: the tokenizer to change.
        preprocessor: a KerasHub `TextClassifierPreprocessor` with its tokenizer.
    """
    preprocessor.build(None)
    packer, original = preprocessor.packer, preprocessor.tokenizer
    start, between, end = (
        [original.id_to_token(each) for each in ids]
        for ids in (packer.start_value, packer.sep_value, packer.end_value)
    )
    ids = dict.fromkeys([*packer.start_value, *packer.sep_value, *packer.end_value])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=[*start, "$A", *end],
        pair=[*start, "$A", *between, "$B:1", *(f"{token}:1" for token in end)],
        special_tokens=[(original.id_to_token(each), each) for each in ids],
    )
