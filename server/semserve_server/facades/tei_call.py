"""What every RPC of text-embeddings-inference needs: the model, the truncation rule, the cost."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import Any

from semserve.v1 import common_pb2

from semserve_server.engine import Engine
from semserve_server.errors import InvalidRequest, NoSuchTask, Unsupported
from semserve_server.facades.stubs.tei.v1 import tei_pb2 as tei
from semserve_server.instrumentation.request_context import current
from semserve_server.registry.registry import TASKS, ModelRegistry
from semserve_server.rpc.handlers import Context
from semserve_server.services.validation import Limits

MODEL_KEY = "semserve-model"
"""Key of the metadata that names a model; the requests of this API cannot."""


class TeiFacade:
    """One service of text-embeddings-inference."""

    def __init__(self, models: ModelRegistry, limits: Limits) -> None:
        self._models = models
        self._limits = limits


def model_of(models: ModelRegistry, tasks: Sequence[str], context: Context) -> Engine:
    """Return the model that answers a call: the named one, or the default of a task.

    Args:
        models: the loaded models.
        tasks: tasks that can answer; without a name, the first one that has a model does.
        context: context of the call.

    Raises:
        NoSuchTask: the named model, or every loaded one, has another task.
        InvalidRequest: several models have the task, and none is the default.
        Draining, NotReady, ModelNotFound, PermissionDenied: as `ModelRegistry.named`.
    """
    models.refuse_while_draining()
    wanted = " or ".join(TASKS[task] for task in tasks)
    name = _named(context)
    if name:
        engine = models.named(name)
        if engine.manifest.task not in tasks:
            raise NoSuchTask(f"{name!r} is {TASKS[engine.manifest.task]}, not {wanted}")
        return engine
    loaded = {engine.manifest.task for engine in models.all()}
    for task in tasks:
        if task in loaded:
            try:
                return models.for_task(task, "")
            except InvalidRequest as error:
                reason = "; ".join(one.description for one in error.violations)
                raise InvalidRequest.of(
                    MODEL_KEY, f"{reason}, in this key of the metadata, or set a default model"
                ) from None
    raise NoSuchTask(f"no loaded model is {wanted}")


def require_one_encoder(engine: Engine) -> None:
    """Refuse a model with an encoder for each side, because requests cannot give the side.

    Raises:
        Unsupported: the model has one for each side.
    """
    if engine.manifest.sides:
        raise Unsupported(f"{engine.name} has an encoder for each side: call semserve.v1")


def truncation(request: Any) -> common_pb2.Truncation.ValueType:
    """Return the truncation rule of a request.

    Raises:
        InvalidRequest: the direction is unknown.
    """
    direction = request.truncation_direction
    if direction not in tei.TruncationDirection.values():
        raise InvalidRequest.of("truncation_direction", f"{direction} is no TruncationDirection")
    if not request.truncate:
        return common_pb2.TRUNCATION_NONE
    if direction == tei.TRUNCATION_DIRECTION_LEFT:
        return common_pb2.TRUNCATION_START
    return common_pb2.TRUNCATION_END


def cost(*texts: str, tokens: int) -> tei.Metadata:
    """Return the cost of the present request.

    Args:
        texts: all its texts.
        tokens: tokens that were computed.
    """
    request = current()
    started, ended = request.tokenized or (0.0, 0.0)
    run = request.inference
    return tei.Metadata(
        compute_chars=sum(map(len, texts)),
        compute_tokens=tokens,
        total_time_ns=_nanoseconds(perf_counter() - request.started),
        tokenization_time_ns=_nanoseconds(ended - started),
        queue_time_ns=_nanoseconds(run.queue_seconds) if run else 0,
        inference_time_ns=_nanoseconds(run.compute_seconds) if run else 0,
    )


def _named(context: Context) -> str:
    """Return the name of the model in the metadata of a call; empty if it has none.

    Raises:
        InvalidRequest: the metadata names several.
    """
    names = {value for key, value in context.invocation_metadata() or () if key == MODEL_KEY}
    if len(names) > 1:
        raise InvalidRequest.of(MODEL_KEY, "is given more than once in the metadata")
    return str(names.pop()) if names else ""


def _nanoseconds(seconds: float) -> int:
    return max(round(seconds * 1e9), 0)
