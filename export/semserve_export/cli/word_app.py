"""The command that measures embedders."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from semserve_export.cli.terminal import commands, console
from semserve_export.data.scored_pairs import read_scored_pairs
from semserve_export.errors import ExportError


def measure(
    *bundles: Path,
    pairs: Annotated[list[Path], Parameter(consume_multiple=True, negative=())],
    variant: str = "portable",
) -> None:
    """Tell how well embedders score pairs that people have scored.

    Args:
        bundles: directories of embedders' bundles.
        pairs: files with columns sentence1, sentence2 and score, of any scale.
        variant: the graph to measure.
    """
    if not bundles:
        raise ExportError("name the directory of a bundle, such as models/minilm-l6-v2")
    commands("word_commands").measure(bundles, read_scored_pairs(pairs), variant, console)
