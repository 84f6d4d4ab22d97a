"""The command that compares tokenizers on many texts. Importing this imports Keras."""

import gzip
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from rich.console import Console
from rich.table import Table

from semserve_export.bundle.layout import write_json
from semserve_export.errors import FidelityError
from semserve_export.pipeline.custom_model import custom_tokenizers
from semserve_export.tokenizers.fuzz_texts import odd_texts
from semserve_export.tokenizers.parity import compare_tokenizers


def compare(
    path: str, count: int, files: Sequence[Path], report: Path | None, console: Console
) -> None:
    """Compare the tokenizer of a user's model with KerasHub's, and print the differences.

    Args:
        path: path of the model, as for `export`.
        count: number of generated texts.
        files: files of further texts, one in each line or tab-separated field; also as .gz.
        report: file for all differences, or None.
        console: where the table is printed.

    Raises:
        FidelityError: a difference has no known cause.
    """
    original, exported = custom_tokenizers(path)
    texts = chain(odd_texts(count), chain.from_iterable(map(_fields, files)))
    with console.status("Comparing tokenizers"):
        parity = compare_tokenizers(original, exported, texts)
    table = Table("cause", "texts", "shortest", title=f"{parity.texts} texts")
    for cause, times in parity.causes.items():
        shortest = next(each.text for each in parity.examples if each.cause == cause)
        table.add_row(cause, str(times), ascii(shortest))
    console.print(table)
    console.print(f"{parity.differing} texts differ, {parity.unexplained} for no known cause")
    if report:
        write_json(report, parity.as_json())
    if parity.unexplained:
        raise FidelityError(f"{path}: {parity.unexplained} texts differ for no known cause")


def _fields(path: Path) -> Iterator[str]:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8", newline="\n") as file:
        for line in file:
            yield from line.rstrip("\n").split("\t")
