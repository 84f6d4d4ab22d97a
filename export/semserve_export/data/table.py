"""Tables of texts, read from TSV, CSV, JSON Lines or Parquet."""

import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from semserve_export.errors import ExportError
from semserve_export.failures import reason_of

LABEL_COLUMNS = ("label", "gold_label")
Columns = list[tuple[str, list[Any]]]


def read_table(path: Path, texts: Sequence[str]) -> Mapping[str, list[Any]]:
    """Read a table's columns by their names in the header.

    The suffix of the name is the format: .tsv (without quoting: a quote is text), .csv (quoted as
    in spreadsheets), .jsonl or .parquet; the first three in UTF-8, plain or as .gz.

    Args:
        path: the file.
        texts: columns that are text even if all values look like numbers; they are optional.

    Raises:
        ExportError: the file is missing, of another kind or damaged.
    """
    suffix = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    if not path.is_file():
        raise ExportError(f"{path}: no such file of texts")
    if suffix not in READERS:
        raise ExportError(f"{path}: ends in none of {', '.join(READERS)}")
    import pyarrow as pa  # noqa: PLC0415 - --help must not wait for it

    try:
        content = path.read_bytes()
        content = gzip.decompress(content) if path.suffix == ".gz" else content
        if suffix != ".parquet":
            _require_text(content)
        columns = READERS[suffix](content, texts)
    except (pa.ArrowException, OSError, EOFError, zlib.error, ValueError) as error:
        raise ExportError(f"{path}: cannot be read: {reason_of(error)}") from error
    names = [name for name, _ in columns]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ExportError(f"{path}: the header has {twice[0]!r} twice")
    return dict(columns)


def require_columns(path: Path, table: Mapping[str, list[Any]], names: Sequence[str]) -> None:
    """Refuse a table that lacks a column.

    Raises:
        ExportError: the message names all missing columns, and those that are there.
    """
    if missing := sorted(set(names) - set(table)):
        found = ", ".join(table) or "nothing"
        raise ExportError(f"{path}: the header lacks {', '.join(missing)}; it has {found}")


def texts_of(
    path: Path, table: Mapping[str, list[Any]], names: Sequence[str]
) -> Iterator[tuple[str, ...]]:
    """Give the texts of each row, one of each column.

    Raises:
        ExportError: one is blank, or no text; the message counts the rows from 1.
    """
    for place, row in enumerate(zip(*(table[name] for name in names), strict=True), 1):
        for name, text in zip(names, row, strict=True):
            if text is not None and not isinstance(text, str):
                raise ExportError(f"{path}, pair {place}: {name} {text!r} is not a text")
            if not (text and text.strip()):
                raise ExportError(f"{path}, pair {place}: {name} is empty")
        yield row


def _require_text(content: bytes) -> None:
    if not content.strip():
        raise ValueError("it is empty")
    try:
        content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"line {line} is not in UTF-8") from error


def _read_separated(
    content: bytes, texts: Sequence[str], *, separator: str, quoted: bool
) -> Columns:
    from pyarrow import csv, string  # noqa: PLC0415 - as above

    table = csv.read_csv(
        io.BytesIO(content),
        read_options=csv.ReadOptions(use_threads=False),  # with threads, errors name no row
        parse_options=csv.ParseOptions(
            delimiter=separator,
            quote_char='"' if quoted else False,
            newlines_in_values=quoted,
        ),
        # A column of numbers, or the text NA, is text here.
        convert_options=csv.ConvertOptions(
            column_types=dict.fromkeys(texts, string()), strings_can_be_null=False
        ),
    )
    return _columns_of(table)


def _read_json_lines(content: bytes, _: Sequence[str]) -> Columns:
    rows = []
    for number, line in enumerate(content.decode("utf-8-sig").split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            if "\\u" in line:
                json.dumps(row, ensure_ascii=False).encode()  # half of a surrogate pair is no text
        except json.JSONDecodeError as error:
            raise ValueError(f"line {number} is no JSON: {error.msg}") from error
        except (ValueError, RecursionError) as error:
            raise ValueError(f"line {number}: {reason_of(error)}") from error
        if not isinstance(row, dict):
            raise ValueError(f"line {number} is no JSON object")  # noqa: TRY004 - a file's fault
        rows.append(row)
    names = dict.fromkeys(name for row in rows for name in row)
    return [(name, [row.get(name) for row in rows]) for name in names]


def _read_parquet(content: bytes, _: Sequence[str]) -> Columns:
    from pyarrow import parquet  # noqa: PLC0415 - as above

    return _columns_of(parquet.read_table(io.BytesIO(content)))


def _columns_of(table: Any) -> Columns:
    """Return an Arrow table's columns; two may have one name."""
    return [
        (name, column.to_pylist())
        for name, column in zip(table.column_names, table.columns, strict=True)
    ]


READERS: Mapping[str, Callable[[bytes, Sequence[str]], Columns]] = {
    ".tsv": partial(_read_separated, separator="\t", quoted=False),
    ".csv": partial(_read_separated, separator=",", quoted=True),
    ".jsonl": _read_json_lines,
    ".parquet": _read_parquet,
}
