"""Builds the tokenizer of a bundle from the files of a Hugging Face directory."""

from pathlib import Path

from tokenizers import Tokenizer

from semserve_export.errors import WeightsError
from semserve_export.files.model_files import read_object
from semserve_export.hugging_face.config import Architecture
from semserve_export.hugging_face.normalizer import (
    lowercase_first,
    require_agreement,
    require_ids_below,
    with_flags,
    without_segments,
)
from semserve_export.hugging_face.tokenizer import adapt_tokenizer
from semserve_export.hugging_face.vocabulary import build_from_vocabulary
from semserve_export.tokenizers.tokenizer_files import FILE, WITHOUT_SEGMENTS, TokenizerFiles


def read_directory_tokenizer(
    directory: Path,
    architecture: Architecture,
    *,
    strip_accents: bool | None = None,
    split_on_cjk: bool | None = None,
    lowercase: bool = False,
) -> tuple[Tokenizer, int | None]:
    """Read the tokenizer of a directory.

    Args:
        directory: contains tokenizer.json, or a vocabulary and tokenizer_config.json.
        architecture: architecture of the model: the size of its vocabulary, and whether it has
            segments.
        strip_accents: overrides the files.
        split_on_cjk: whether a Chinese character is a word; overrides the files.
        lowercase: whether texts are first converted to lower case.

    Returns:
        The tokenizer, and its maximum number of tokens if the files specify one.

    Raises:
        WeightsError: a setting is not supported; the message names the file and the key.
    """
    files = TokenizerFiles.read(directory)
    definition = read_object(directory / FILE)
    if definition and "model" not in definition:
        raise WeightsError(f"{FILE}: is none of the tokenizers library")
    if definition:
        require_agreement(definition, files.config)
    else:
        definition = build_from_vocabulary(files, architecture.model_type)
    tokenizer = adapt_tokenizer(definition, files)
    require_ids_below(tokenizer, architecture.vocabulary)
    if architecture.segments and not _makes_segments(files):
        tokenizer = without_segments(tokenizer)
    tokenizer = with_flags(tokenizer, strip_accents=strip_accents, split_on_cjk=split_on_cjk)
    return (lowercase_first(tokenizer) if lowercase else tokenizer), files.max_length


def _makes_segments(files: TokenizerFiles) -> bool:
    """Return whether transformers passes the segments of pairs to the model."""
    named = files.config.get("model_input_names")
    if named is not None:
        return "token_type_ids" in named
    return not files.class_name.startswith(WITHOUT_SEGMENTS)
