"""How each server spells a request: its methods, and texts or pairs as serialized bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from semserve.v1 import classification_pb2, embedding_pb2

from load.bundle import Bundle

Item = str | tuple[str, str]


@dataclass(frozen=True, slots=True)
class Wire:
    """A server's dialect."""

    unary: str
    """Full name of the method that answers one request."""
    stream: str
    """Full name of the bidirectional method whose messages are `id` and request; empty for none."""
    write: Callable[[Sequence[Item]], bytes]
    """Serializes one request; a dialect of single texts takes one item."""


def _embed(items: Sequence[Item], model: str = "") -> bytes:
    return embedding_pb2.EmbedRequest(model=model, texts=items).SerializeToString()


def _classify(items: Sequence[Item], model: str = "") -> bytes:
    pairs = [
        classification_pb2.ClassifyPair(premise=premise, hypothesis=hypothesis)
        for premise, hypothesis in items
    ]
    return classification_pb2.ClassifyRequest(model=model, pairs=pairs).SerializeToString()


def _tei(items: Sequence[Item]) -> bytes:
    """Serialize `tei.v1.EmbedRequest`: `inputs` is field 1, and vectors are normalised anyway."""
    (text,) = items
    return field(1, str(text).encode())


def _open_inference(items: Sequence[Item]) -> bytes:
    """Serialize `inference.ModelInferRequest` with one BYTES tensor of the texts."""
    contents = b"".join(field(8, str(text).encode()) for text in items)
    shape = field(3, bytes([len(items)]))
    tensor = field(1, b"texts") + field(2, b"BYTES") + shape + field(5, contents)
    return field(1, b"model") + field(5, tensor)


def field(number: int, content: bytes) -> bytes:
    """Write a length-delimited field of a message."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(number: int) -> bytes:
    """Write an unsigned number as Protocol Buffers do."""
    out = bytearray()
    while number > 0x7F:  # seven bits a byte; the eighth says that more follow
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


_EMBEDDING = "/semserve.v1.EmbeddingService"
_CLASSIFICATION = "/semserve.v1.ClassificationService"
EMBED = Wire(f"{_EMBEDDING}/Embed", f"{_EMBEDDING}/StreamEmbed", _embed)
CLASSIFY = Wire(f"{_CLASSIFICATION}/Classify", f"{_CLASSIFICATION}/StreamClassify", _classify)
TEI = Wire("/tei.v1.Embed/Embed", "", _tei)
OPEN_INFERENCE = Wire("/inference.GRPCInferenceService/ModelInfer", "", _open_inference)


def of_model(bundle: Bundle) -> Wire:
    """Return the dialect of semserve for one of several models."""
    usual, write = (CLASSIFY, _classify) if bundle.output == "logits" else (EMBED, _embed)
    return replace(usual, write=partial(write, model=bundle.name))
