"""Tables of texts, read from TSV, CSV, JSON Lines or Parquet."""

import gzip
import io
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from semserve_export.errors import ExportError
from semserve_export.failures import reason_of

LABEL_COLUMNS = ("label", "gold_label")


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
    import pyarrow as pa  # noqa: PLC0415 - --help must not wait for it

    suffix = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    if not path.is_file():
        raise ExportError(f"{path}: no such file of texts")
    if suffix not in READERS:
        raise ExportError(f"{path}: ends in none of {', '.join(READERS)}")
    try:
        content = path.read_bytes()
        packed = path.suffix == ".gz"
        file = io.BytesIO(gzip.decompress(content) if packed else content)
        table = READERS[suffix](file, texts)
    except (pa.ArrowException, OSError, EOFError, zlib.error, ValueError) as error:
        raise ExportError(f"{path}: cannot be read: {reason_of(error)}") from error
    names = list(table.column_names)
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ExportError(f"{path}: the header has {twice[0]!r} twice")
    return {name: table[name].to_pylist() for name in names}


def require_columns(path: Path, table: Mapping[str, list[Any]], names: Sequence[str]) -> None:
    """Refuse a table that lacks a column.

    Raises:
        ExportError: the message names all missing columns.
    """
    if missing := sorted(set(names) - set(table)):
        raise ExportError(f"{path}: the header lacks {', '.join(missing)}")


def _read_separated(file: io.BytesIO, texts: Sequence[str], *, separator: str, quoted: bool) -> Any:
    from pyarrow import csv, string  # noqa: PLC0415 - as above

    return csv.read_csv(
        file,
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


def _read_json_lines(file: io.BytesIO, texts: Sequence[str]) -> Any:
    from pyarrow import json, schema, string  # noqa: PLC0415 - as above

    # A label may be a number. A column that is named in the schema must be text.
    columns = schema([(column, string()) for column in texts if column not in LABEL_COLUMNS])
    table = json.read_json(file, parse_options=json.ParseOptions(explicit_schema=columns))
    # A column of the schema is in the table even if no line has it.
    absent = [name for name in columns.names if table[name].null_count == len(table)]
    return table.drop_columns(absent)


def _read_parquet(file: io.BytesIO, _: Sequence[str]) -> Any:
    from pyarrow import parquet  # noqa: PLC0415 - as above

    return parquet.read_table(file)


READERS: Mapping[str, Callable[[io.BytesIO, Sequence[str]], Any]] = {
    ".tsv": partial(_read_separated, separator="\t", quoted=False),
    ".csv": partial(_read_separated, separator=",", quoted=True),
    ".jsonl": _read_json_lines,
    ".parquet": _read_parquet,
}
