# ruff: noqa: D417 - shared flags tell about themselves
"""The commands for vectors and labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from semserve.cli.app import (
    SERVER_FLAGS,
    TEXTS,
    Files,
    Model,
    PairFiles,
    PromptName,
    ServerFlags,
    app,
)
from semserve.cli.bulk_commands import classify_file, embed_file
from semserve.cli.command_error import UsageError
from semserve.cli.input_texts import read_pairs, read_texts
from semserve.cli.output import (
    Figures,
    Format,
    print_results,
    print_table,
    shortest,
    usage_document,
)

if TYPE_CHECKING:
    from semserve import Classifications, Embeddings


@Parameter(name="*", group="Long files")
@dataclass(frozen=True, slots=True, kw_only=True)
class Bulk:
    """The flags of a run over long files."""

    to: Path | None = None
    "File to write; with it, the arguments are files to read. The same command continues a run."
    column: Annotated[Sequence[str], Parameter(negative=(), show_default=False)] = ()
    "Column of the texts in a file; twice for pairs. By default one with a usual name."
    overwrite: Annotated[bool, Parameter(negative=())] = False
    "Replace the file of --to, complete or not, in place of continuing it."
    allow_partial: Annotated[bool, Parameter(negative=())] = False
    "Leave the rows of invalid texts empty, and continue."

    def check(self) -> None:
        """Refuse flags that need --to.

        Raises:
            UsageError: it names them.
        """
        if self.to is None and (self.column or self.overwrite or self.allow_partial):
            raise UsageError("--column, --overwrite and --allow-partial go with --to")


BULK = Bulk()
# Number of a vector's elements to show.
_SHOWN = 4


@app.command(group=TEXTS)
def embed(  # noqa: PLR0913 - the flags of the command
    *texts: str,
    file: Files = (),
    model: Model = "",
    normalize: bool | None = None,
    dimensions: Annotated[int | None, Parameter(validator=Number(gte=1))] = None,
    prompt_name: PromptName = None,
    side: Literal["left", "right"] | None = None,
    bulk: Bulk = BULK,
    flags: ServerFlags = SERVER_FLAGS,
) -> None:
    """Convert texts to vectors.

    Args:
        texts: Texts to embed.
        normalize: Scale vectors to unit length, or not; the default depends on the model.
        dimensions: Keep only this many dimensions.
        side: Encoder for the texts, of a model with one for each side.
    """
    bulk.check()
    if bulk.to is not None:
        if len(bulk.column) > 1:
            raise UsageError("--column: embed takes one column")
        options = {
            "model": model, "normalize": normalize, "dimensions": dimensions,
            "prompt_name": prompt_name, "side": side, "allow_partial": bulk.allow_partial,
        }  # fmt: skip
        column = "".join(bulk.column)
        files = (*texts, *file)
        embed_file(files, bulk.to, flags, options, column=column, overwrite=bulk.overwrite)
        return
    listed = read_texts(texts, file)
    with flags.client() as client:
        found = client.embed(
            listed,
            model=model,
            normalize=normalize,
            dimensions=dimensions,
            prompt_name=prompt_name,
            side=side,
        )
    if flags.output == "table":
        rows = [
            (
                text,
                len(vector),
                int(tokens),
                Figures(" ".join(f"{x: .6f}" for x in vector[:_SHOWN])),
            )
            for text, vector, tokens in zip(listed, found.vectors, found.token_counts, strict=True)
        ]
        print_table(["text", "dimensions", "tokens", f"first {_SHOWN}"], rows)
    else:
        _print(_vectors(listed, found), found, flags.output, "vector")


@app.command(group=TEXTS)
def classify(
    *pair: str,
    file: PairFiles = (),
    model: Model = "",
    bulk: Bulk = BULK,
    flags: ServerFlags = SERVER_FLAGS,
) -> None:
    """Classify a premise and a hypothesis, or a single text if the model takes one.

    Args:
        pair: PREMISE and HYPOTHESIS.
    """
    bulk.check()
    if bulk.to is not None:
        sent = {"model": model, "allow_partial": bulk.allow_partial}
        files, over = (*pair, *file), bulk.overwrite
        classify_file(files, bulk.to, flags, sent, columns=bulk.column, overwrite=over)
        return
    pairs = read_pairs(pair, file)
    with flags.client() as client:
        given = [one[0] if len(one) == 1 else (one[0], one[1]) for one in pairs]
        found = client.classify(given, model=model)
    if flags.output == "table":
        rows = [
            (*one, *[""] * (2 - len(one)), result.label, *result.scores.values())
            for one, result in zip(pairs, found, strict=True)
        ]
        print_table(["premise", "hypothesis", "label", *found.classes], rows)
    else:
        _print(_labels(pairs, found), found, flags.output, "label")


def _print(
    results: Sequence[dict[str, object]],
    found: "Embeddings | Classifications",
    form: Format,
    main: str,
) -> None:
    document = {"model": found.model, "results": results, "usage": usage_document(found.usage)}
    print_results(form, document, results, main)


def _vectors(texts: Sequence[str], found: "Embeddings") -> list[dict[str, object]]:
    return [
        {
            "text": text,
            "vector": shortest(found.vectors[place]),
            "token_count": int(found.token_counts[place]),
            "truncated_tokens": int(found.truncated_tokens[place]),
        }
        for place, text in enumerate(texts)
    ]


def _labels(pairs: Sequence[tuple[str, ...]], found: "Classifications") -> list[dict[str, object]]:
    return [
        {
            **dict(zip(("premise", "hypothesis"), pair, strict=False)),
            "label": found.labels[place],
            "scores": dict(zip(found.classes, shortest(found.scores[place]), strict=True)),
            "logits": shortest(found.logits[place]),
            "token_count": int(found.token_counts[place]),
            "truncated_tokens": int(found.truncated_tokens[place]),
        }
        for place, pair in enumerate(pairs)
    ]
