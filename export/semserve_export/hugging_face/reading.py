"""From the files of a Hugging Face directory to the tokenizer that is served."""

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
    """Read the directory's own tokenizer.

    Args:
        directory: holds tokenizer.json, or a vocabulary and tokenizer_config.json.
        architecture: of the model: how many ids it has vectors for, and whether it has segments.
        strip_accents: in place of what the files say.
        split_on_cjk: whether a Chinese character is a word, in place of what the files say.
        lowercase: whether letters are lowered before all else.

    Returns:
        The tokenizer, and the most tokens that it gives a text, where the files limit them.

    Raises:
        WeightsError: something of it cannot be honoured; the message names the file and key.
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
    """Tell whether transformers gives the model the segments of this tokenizer's pairs."""
    named = files.config.get("model_input_names")
    if named is not None:
        return "token_type_ids" in named
    return not files.class_name.startswith(WITHOUT_SEGMENTS)
