# ruff: noqa: D417 - shared flags tell about themselves
"""The commands for vectors and labels."""

from collections.abc import Sequence
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
from semserve.cli.input_texts import read_pairs, read_texts
from semserve.cli.output import Figures, print_json, print_table, shortest, usage_document

if TYPE_CHECKING:
    from semserve import Classifications, Embeddings

# Number of a vector's elements to show.
_SHOWN = 4


@app.command(group=TEXTS)
def embed(
    *texts: str,
    file: Files = (),
    model: Model = "",
    normalize: bool | None = None,
    dimensions: Annotated[int | None, Parameter(validator=Number(gte=1))] = None,
    prompt_name: PromptName = None,
    side: Literal["left", "right"] | None = None,
    flags: ServerFlags = SERVER_FLAGS,
) -> None:
    """Convert texts to vectors.

    Args:
        texts: Texts to embed.
        normalize: Scale vectors to unit length, or not; the default depends on the model.
        dimensions: Keep only this many dimensions.
        side: Encoder for the texts, of a model with one for each side.
    """
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
    if flags.output == "json":
        print_json(_vectors(listed, found))
    else:
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


@app.command(group=TEXTS)
def classify(
    *pair: str,
    file: PairFiles = (),
    model: Model = "",
    flags: ServerFlags = SERVER_FLAGS,
) -> None:
    """Classify a premise and a hypothesis, or a single text if the model takes one.

    Args:
        pair: PREMISE and HYPOTHESIS.
    """
    pairs = read_pairs(pair, file)
    with flags.client() as client:
        given = [one[0] if len(one) == 1 else (one[0], one[1]) for one in pairs]
        found = client.classify(given, model=model)
    if flags.output == "json":
        print_json(_labels(pairs, found))
    else:
        rows = [
            (*one, *[""] * (2 - len(one)), result.label, *result.scores.values())
            for one, result in zip(pairs, found, strict=True)
        ]
        print_table(["premise", "hypothesis", "label", *found.classes], rows)


def _vectors(texts: Sequence[str], found: "Embeddings") -> dict[str, object]:
    results = [
        {
            "text": text,
            "vector": shortest(found.vectors[place]),
            "token_count": int(found.token_counts[place]),
            "truncated_tokens": int(found.truncated_tokens[place]),
        }
        for place, text in enumerate(texts)
    ]
    return {"model": found.model, "results": results, "usage": usage_document(found.usage)}


def _labels(pairs: Sequence[tuple[str, ...]], found: "Classifications") -> dict[str, object]:
    results = [
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
    return {"model": found.model, "results": results, "usage": usage_document(found.usage)}
