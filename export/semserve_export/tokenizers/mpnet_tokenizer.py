"""MPNet's tokenizer: BERT's word-pieces with RoBERTa's special tokens."""

from collections.abc import Sequence

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from semserve_export.errors import WeightsError

START, END, UNKNOWN = "<s>", "</s>", "[UNK]"
SPECIAL = (START, END, "<pad>", UNKNOWN, "<mask>")


def build_mpnet_tokenizer(
    vocabulary: Sequence[str], *, lowercase: bool, strip_accents: bool
) -> Tokenizer:
    """Build the tokenizer: `<s> a </s>`, and `<s> a </s></s> b </s>` for a pair.

    As in `build_tokenizer`, no special token is registered, so that a literal `</s>` in a text is
    text.

    Args:
        vocabulary: the word-pieces in the order of their ids.
        lowercase: whether the model is uncased.
        strip_accents: whether it was trained on
            letters without accents.

    Raises:
        WeightsError: the vocabulary lacks a special token of MPNet.
    """
    ids = {piece: index for index, piece in enumerate(vocabulary)}
    if missing := [piece for piece in SPECIAL if piece not in ids]:
        raise WeightsError(f"the vocabulary is no MPNet's: it lacks {', '.join(missing)}")
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=True, strip_accents=strip_accents, lowercase=lowercase
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=[START, "$A", END],
        pair=[START, "$A", END, END, "$B:1", f"{END}:1"],
        special_tokens=[(piece, ids[piece]) for piece in (START, END)],
    )
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer
