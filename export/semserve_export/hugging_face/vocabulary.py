"""Builds a tokenizer from a vocabulary and tokenizer_config.json, without a tokenizer.json.

Every flag of transformers' tokenizer class is supported, or refused by its name.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from semserve_export.errors import WeightsError
from semserve_export.files.model_files import read_object
from semserve_export.tokenizers.bert_wordpiece import read_vocabulary
from semserve_export.tokenizers.tokenizer_files import CONFIG, ROLES, TokenizerFiles

MERGES_COMMENT = "#version"
COMMON = frozenset(
    (
        *ROLES,
        *("tokenizer_class", "name_or_path", "special_tokens_map_file", "tokenizer_file"),
        *("full_tokenizer_file", "model_max_length", "max_len", "padding_side", "truncation_side"),
        *("clean_up_tokenization_spaces", "added_tokens_decoder", "additional_special_tokens"),
        *("extra_special_tokens", "model_input_names", "processor_class", "backend", "is_local"),
        *("pad_token_type_id", "pad_to_multiple_of", "stride", "max_length", "errors"),
        *("truncation_strategy", "split_special_tokens", "use_fast", "trim_offsets"),
        *("model_specific_special_tokens", "pad_token_id", "vocab_file", "merges_file"),
        "local_files_only",
    )
)
"""Keys of tokenizer_config.json of all classes, which are read elsewhere or have no effect on a
single text."""


def build_from_vocabulary(files: TokenizerFiles, model_type: str) -> dict[str, Any]:
    """Build the content of a tokenizer.json.

    Raises:
        WeightsError: the vocabulary is missing, or a flag is not supported.
    """
    kind = files.class_name
    if kind in {"", "PreTrainedTokenizer", "TokenizersBackend"}:
        kind = _class_of(files.directory, model_type)
    if kind not in BUILDERS:
        raise WeightsError(
            f"{CONFIG}: the tokenizer_class {kind} cannot be built from its vocabulary; save the"
            " directory with its tokenizer.json"
        )
    builder, flags = BUILDERS[kind]
    for key, value in files.config.items():
        if key not in COMMON | flags and value not in (None, False, {}, []):
            raise WeightsError(f"{CONFIG}: {key} {value!r} cannot be honoured")
    definition: dict[str, Any] = json.loads(builder(files).to_str())
    return definition


def _class_of(directory: Path, model_type: str) -> str:
    """Determine the class by the existing files and the family."""
    for name, kind in (
        ("vocab.txt", "BertTokenizer"),
        ("vocab.json", "RobertaTokenizer"),
        ("spiece.model", "AlbertTokenizer"),
        ("sentencepiece.bpe.model", "XLMRobertaTokenizer"),
        ("spm.model", "DebertaV2Tokenizer"),
    ):
        if (directory / name).is_file():
            return kind
    raise WeightsError(
        f"has no tokenizer: neither tokenizer.json nor a vocabulary of {model_type}; name a"
        " directory that has it with --tokenizer"
    )


def _word_piece(files: TokenizerFiles) -> Tokenizer:
    """BERT: split at blanks, punctuation and Chinese characters, then the longest pieces."""
    config = files.config
    if config.get("do_basic_tokenize", True) is not True:
        raise WeightsError(f"{CONFIG}: do_basic_tokenize false is read in two ways; it is refused")
    vocabulary = read_vocabulary(_file(files, "vocab.txt"))
    vocabulary = [piece.rstrip("\r") for piece in vocabulary]
    ids = {piece: place for place, piece in enumerate(vocabulary)}
    unknown, start, end = (
        files.name_of(role, name)
        for role, name in (("unk_token", "[UNK]"), ("cls_token", "[CLS]"), ("sep_token", "[SEP]"))
    )
    _require(ids, unknown, start, end)
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token=unknown))
    lowercase = bool(config.get("do_lower_case", True))
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=bool(config.get("tokenize_chinese_chars", True)),
        strip_accents=config.get("strip_accents"),
        lowercase=lowercase,
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start}:0 $A:0 {end}:0",
        pair=f"{start}:0 $A:0 {end}:0 $B:1 {end}:1",
        special_tokens=[(start, ids[start]), (end, ids[end])],
    )
    return tokenizer


def _byte_level(files: TokenizerFiles) -> Tokenizer:
    """RoBERTa: the byte-level BPE of GPT-2."""
    ids = read_object(_file(files, "vocab.json"))
    lines = _file(files, "merges.txt").read_text(encoding="utf-8").split("\n")
    merges: list[Any] = [
        tuple(line.split()) for line in lines if line and not line.startswith(MERGES_COMMENT)
    ]
    start, end = files.name_of("cls_token", "<s>"), files.name_of("sep_token", "</s>")
    unknown = files.name_of("unk_token", "<unk>")
    _require(ids, start, end)
    missing = set(pre_tokenizers.ByteLevel.alphabet()) - ids.keys()
    if missing and unknown not in ids:
        raise WeightsError(
            f"vocab.json: lacks {len(missing)} of the 256 bytes, and has no {unknown}"
        )
    try:
        model = models.BPE(ids, merges, unk_token=unknown if missing else None)
    except Exception as error:
        raise WeightsError(f"merges.txt: {str(error).splitlines()[0]}") from error
    tokenizer = Tokenizer(model)
    prefixed = bool(files.config.get("add_prefix_space", False))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefixed)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.RobertaProcessing(
        (end, ids[end]), (start, ids[start]), trim_offsets=True, add_prefix_space=prefixed
    )
    return tokenizer


def _xlm_roberta(files: TokenizerFiles) -> Tokenizer:
    import keras_hub  # noqa: PLC0415 - imports Keras, for its reading of the model alone

    from semserve_export.tokenizers.sentence_piece import build_sentence_piece  # noqa: PLC0415

    original = keras_hub.models.XLMRobertaTokenizer(proto=_proto(files, "sentencepiece.bpe.model"))
    tokenizer = build_sentence_piece(original)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    return tokenizer


def _albert(files: TokenizerFiles) -> Tokenizer:
    """ALBERT: quotes, case and accents first, then SentencePiece."""
    import keras_hub  # noqa: PLC0415 - imports Keras, for its reading of the model alone

    from semserve_export.tokenizers.sentence_piece import build_sentence_piece  # noqa: PLC0415

    original = keras_hub.models.AlbertTokenizer(proto=_proto(files, "spiece.model"))
    tokenizer = _with_separators(build_sentence_piece(original), original)
    config = files.config
    steps: list[Any] = [normalizers.Replace("``", '"'), normalizers.Replace("''", '"')]
    if config.get("remove_space", True):
        steps += [normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()]
    if not config.get("keep_accents", False):
        steps += [normalizers.NFKD(), normalizers.StripAccents()]
    if config.get("do_lower_case", True):
        steps.append(normalizers.Lowercase())
    tokenizer.normalizer = normalizers.Sequence([*steps, tokenizer.normalizer])
    return tokenizer


def _deberta(files: TokenizerFiles) -> Tokenizer:
    import keras_hub  # noqa: PLC0415 - imports Keras, for its reading of the model alone

    from semserve_export.tokenizers.sentence_piece import build_sentence_piece  # noqa: PLC0415

    original = keras_hub.models.DebertaV3Tokenizer(proto=_proto(files, "spm.model"))
    return _with_separators(build_sentence_piece(original), original)


def _with_separators(tokenizer: Tokenizer, original: Any) -> Tokenizer:
    """Put the start and end tokens of KerasHub's tokenizer around texts and pairs, as BERT does."""
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[("[CLS]", original.start_token_id), ("[SEP]", original.end_token_id)],
    )
    return tokenizer


Builder = Callable[[TokenizerFiles], Tokenizer]
WORD_PIECE = frozenset(
    {"do_lower_case", "strip_accents", "tokenize_chinese_chars", "do_basic_tokenize"}
)
BUILDERS: Mapping[str, tuple[Builder, frozenset[str]]] = MappingProxyType(
    {
        "BertTokenizer": (_word_piece, WORD_PIECE),
        "DistilBertTokenizer": (_word_piece, WORD_PIECE),
        "ElectraTokenizer": (_word_piece, WORD_PIECE),
        "RobertaTokenizer": (_byte_level, frozenset({"add_prefix_space"})),
        "XLMRobertaTokenizer": (_xlm_roberta, frozenset()),
        # Its options `do_lower_case` and `split_by_punct` are refused.
        "DebertaV2Tokenizer": (_deberta, frozenset({"vocab_type"})),
        "AlbertTokenizer": (
            _albert,
            frozenset({"do_lower_case", "remove_space", "keep_accents"}),
        ),
    }
)
"""By class of transformers: the function that builds it, and its flags."""


def _file(files: TokenizerFiles, name: str) -> Path:
    path = files.directory / name
    if not path.is_file():
        raise WeightsError(f"{name}: is missing, and there is no tokenizer.json")
    return path


def _proto(files: TokenizerFiles, name: str) -> bytes:
    return _file(files, name).read_bytes()


def _require(ids: Mapping[str, Any], *names: str) -> None:
    if missing := [name for name in names if name not in ids]:
        raise WeightsError(f"the vocabulary lacks {', '.join(missing)}")
