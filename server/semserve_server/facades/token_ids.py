"""Inputs with token ids, from callers that tokenise by themselves: validated, and run unchanged."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from semserve_server.auth.key_store import FREE, PRINCIPAL
from semserve_server.engine import Engine
from semserve_server.errors import InvalidRequest
from semserve_server.facades import tensors
from semserve_server.facades.stubs.inference import grpc_service_pb2 as oip
from semserve_server.instrumentation.request_context import current
from semserve_server.repository.manifest import Manifest
from semserve_server.rpc.handlers import Context
from semserve_server.rpc.reply_room import reply_room
from semserve_server.runtime.encoding import Encoding
from semserve_server.services import validation as checks
from semserve_server.services.execution import ITEM_BYTES
from semserve_server.services.validation import Limits

INPUTS = ("token_ids", "padding_mask", "segment_ids")


def takes_tokens(manifest: Manifest) -> bool:
    """Return whether a model takes one sequence of token ids for each text, and nothing else."""
    names = set(manifest.inputs)
    return "token_ids" in names and names <= set(INPUTS) and not manifest.padded_length


def token_inputs(manifest: Manifest) -> list[str]:
    """Return the names of the token inputs; empty if the model takes only texts."""
    return [name for name in INPUTS if name in manifest.inputs] if takes_tokens(manifest) else []


async def infer_tokens(
    engine: Engine,
    request: oip.ModelInferRequest,
    given: Mapping[str, int],
    limits: Limits,
    context: Context,
) -> NDArray[np.float32]:
    """Run token ids.

    Args:
        engine: the model.
        request: has the inputs.
        given: indices of the inputs by name, including `token_ids`.
        limits: limits of a request.
        context: context of the call.

    Returns:
        Float32 [texts, outputs], in the order of the rows.

    Raises:
        InvalidRequest: names the invalid input.
        Overloaded, Draining, DeadlineExceeded, InferenceFailed: as `Engine.infer`.
    """
    current().model = engine.counters
    encodings = read(engine, request, given, limits)
    tokens = sum(encoding.tokens for encoding in encodings)
    size = len(encodings) * (4 * engine.manifest.outputs + ITEM_BYTES)
    principal = PRINCIPAL.get(None)
    with FREE if principal is None else principal.reserve(tokens) as charge:
        await reply_room().enter(size)
        await reply_room().hold(size)
        caller = context.peer() if principal is None else principal.name
        inference = await engine.infer(encodings, timeout=context.time_remaining(), caller=caller)
        charge.settle(tokens)
    current().inference = inference.cost
    return inference.rows


def read(
    engine: Engine, request: oip.ModelInferRequest, given: Mapping[str, int], limits: Limits
) -> list[Encoding]:
    """Read an encoding from each row; `padding_mask` is 1 for each token, and then 0 for padding.

    Raises:
        InvalidRequest: names the invalid input.
    """
    names = token_inputs(engine.manifest)
    if not names:
        raise InvalidRequest.of("inputs", f"{engine.name} takes texts, not token ids")
    for name, place in given.items():
        if name not in names:
            raise InvalidRequest.of(f"inputs[{place}].name", f"{name[:64]!r} is no input of tokens")
    read = {name: tensors.integers(request, place) for name, place in given.items()}
    ids = read["token_ids"]
    checks.count("inputs", len(ids), limits)
    for name, values in read.items():
        if values.shape != ids.shape:
            raise InvalidRequest.of(
                f"inputs[{given[name]}].shape",
                f"is {list(values.shape)}, and token_ids has {list(ids.shape)}",
            )
    mask = read.get("padding_mask", np.ones_like(ids))
    segments = read.get("segment_ids", np.zeros_like(ids))
    lengths = _lengths(mask, given)
    longest, most = int(lengths.max()), engine.tokenizer.max_length
    if longest > most:
        raise InvalidRequest.of(
            f"inputs[{given['token_ids']}].shape", f"{longest} tokens, at most {most}"
        )
    _require_range(ids, engine.tokenizer.vocabulary_size, given["token_ids"])
    _require_range(segments, 2, given.get("segment_ids", 0))
    return [
        Encoding(row[:size].tolist(), kinds[:size].tolist())
        for row, kinds, size in zip(ids, segments, lengths, strict=True)
    ]


def _lengths(mask: NDArray[np.int64], given: Mapping[str, int]) -> NDArray[np.int64]:
    """Return the number of tokens of each row: int64 [texts]."""
    lengths: NDArray[np.int64] = mask.sum(axis=1)
    whole = np.arange(mask.shape[1]) < lengths[:, None]
    if not np.array_equal(mask, whole) or lengths.min() < 1:
        raise InvalidRequest.of(
            f"inputs[{given.get('padding_mask', 0)}].contents",
            "padding_mask is 1 for at least one token, and then 0 for padding at the end",
        )
    return lengths


def _require_range(values: NDArray[np.int64], size: int, place: int) -> None:
    wrong = (values < 0) | (values >= size)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise InvalidRequest.of(
            f"inputs[{place}].contents",
            f"{values[row, column]} at [{row}, {column}]; ids are from 0 to {size - 1}",
        )
