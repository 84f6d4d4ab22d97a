"""tei.v1.Tokenize and tei.v1.Info: how texts are read, and what the model is."""

from __future__ import annotations

from functools import partial
from itertools import accumulate

from semserve_server import __version__
from semserve_server.auth.key_store import FREE, PRINCIPAL
from semserve_server.engine import Engine
from semserve_server.errors import InvalidRequest
from semserve_server.facades.ordered_streams import ordered_stream
from semserve_server.facades.stubs.tei.v1 import tei_pb2 as tei
from semserve_server.facades.tei_call import TeiFacade, model_of
from semserve_server.instrumentation.request_context import current
from semserve_server.rpc.handlers import Context, Handlers, Streams, unary
from semserve_server.rpc.reply_room import reply_room
from semserve_server.runtime.tokenizer import Tokens
from semserve_server.services import validation as checks
from semserve_server.services.execution import ITEM_BYTES
from semserve_server.services.model import TokenizedChunk, read_tokens
from semserve_server.services.prompts import prompt_text

TASKS = ("embedding", "classification", "score", "sparse_embedding")
"""All tasks, in the order in which a call without a model's name looks for a model."""
TOKEN_BYTES = 48
"""Upper bound of the bytes of a SimpleToken for each byte of the text: its numbers, and the text of
a character that several tokens share."""
_TYPES = {
    "embedding": tei.MODEL_TYPE_EMBEDDING,
    "sparse_embedding": tei.MODEL_TYPE_EMBEDDING,
    "classification": tei.MODEL_TYPE_CLASSIFIER,
    "score": tei.MODEL_TYPE_RERANKER,
}
_DTYPES = {"fp32": "float32", "fp16": "float16", "int8": "int8"}


class InfoFacade(TeiFacade):
    """Info."""

    name = "tei.v1.Info"

    def handlers(self) -> Handlers:
        """Return a handler for each RPC of the service."""
        return {"Info": unary(tei.InfoRequest, self.info)}

    async def info(self, _request: tei.InfoRequest, context: Context) -> tei.InfoResponse:
        """Return the model and the limits."""
        engine = model_of(self._models, TASKS, context)
        manifest = engine.manifest
        precision = manifest.variants[engine.variant].precision
        return tei.InfoResponse(
            version=__version__,
            model_id=engine.name,
            model_sha=engine.digest,
            model_dtype=_DTYPES.get(precision, precision),
            model_type=_TYPES[manifest.task],
            max_concurrent_requests=engine.capacity.max_queue_entries,
            max_input_length=manifest.max_sequence_length,
            max_batch_tokens=engine.capacity.max_batch_tokens,
            max_client_batch_size=self._limits.max_texts,
            tokenization_workers=1,
        )


class TokenizeFacade(TeiFacade):
    """Tokenize, Decode and their streams."""

    name = "tei.v1.Tokenize"

    def handlers(self, streams: Streams) -> Handlers:
        """Return a handler for each RPC of the service."""
        return {
            "Tokenize": unary(tei.EncodeRequest, self.tokenize),
            "TokenizeStream": ordered_stream(streams, tei.EncodeRequest, self.tokenize),
            "Decode": unary(tei.DecodeRequest, self.decode),
            "DecodeStream": ordered_stream(streams, tei.DecodeRequest, self.decode),
        }

    async def tokenize(self, request: tei.EncodeRequest, context: Context) -> bytes:
        """Return a serialized EncodeResponse: the tokens of a text, with its prompt."""
        engine = self._engine(context)
        checks.texts([("inputs", request.inputs)], self._limits)
        text = prompt_text(engine.manifest, request) + request.inputs
        content = checks.total_bytes("inputs", [text], self._limits)
        write = partial(_write, text, special=request.add_special_tokens)
        (chunk,) = await read_tokens(
            engine, [text], write, content * TOKEN_BYTES + ITEM_BYTES, context
        )
        return chunk.content

    async def decode(self, request: tei.DecodeRequest, context: Context) -> tei.DecodeResponse:
        """Return the text of token ids."""
        engine = self._engine(context)
        size, known = len(request.ids), engine.tokenizer.vocabulary_size
        most = self._limits.max_text_bytes
        if not 1 <= size <= most:
            raise InvalidRequest.of("ids", f"has {size} ids; at least 1, at most {most}")
        for place, one in enumerate(request.ids):
            if one >= known:
                raise InvalidRequest.of(f"ids[{place}]", f"{one}; ids are from 0 to {known - 1}")
        principal = PRINCIPAL.get(None)
        with FREE if principal is None else principal.reserve(size) as charge:
            reply_bytes = size * (engine.tokenizer.longest_token + 1) + ITEM_BYTES
            await reply_room().enter(reply_bytes)
            await reply_room().hold(reply_bytes)
            text = await engine.decode(
                list(request.ids),
                skip_special=request.skip_special_tokens,
                remaining=context.time_remaining(),
            )
            charge.settle(size)
        return tei.DecodeResponse(text=text)

    def _engine(self, context: Context) -> Engine:
        engine = model_of(self._models, TASKS, context)
        current().model = engine.counters
        return engine


def _write(text: str, read: list[Tokens], *, special: bool) -> TokenizedChunk:
    """Serialize the tokens of a text. Runs on the tokenizer thread.

    Args:
        text: the text, with its prompt.
        read: its tokens.
        special: whether to write special tokens too.
    """
    (tokens,) = read
    starts = _byte_offsets(text)
    written = []
    for token, number, (start, end), added in zip(
        tokens.tokens, tokens.ids, tokens.offsets, tokens.special, strict=True
    ):
        if not added:
            written.append(
                tei.SimpleToken(
                    id=number, text=text[start:end], start=starts[start], stop=starts[end]
                )
            )
        elif special:
            written.append(tei.SimpleToken(id=number, text=token, special=True))
    content = tei.EncodeResponse(tokens=written).SerializeToString()
    return TokenizedChunk(content, len(tokens.ids))


def _byte_offsets(text: str) -> range | list[int]:
    """Return the offset in UTF-8 bytes of each character, and of the end."""
    if text.isascii():
        return range(len(text) + 1)
    sizes = (1 + (one > "\x7f") + (one > "\u07ff") + (one > "\uffff") for one in text)
    return list(accumulate(sizes, initial=0))
