"""Packs the tokens of a batch in one list, [tokens, hidden], without the padding between texts.

Only attention depends on the text of a token, so all other parts of a layer compute only real
tokens: the cost of a batch depends on its tokens, whatever the lengths of its texts. Attention uses
padded tensors, [batch, heads, sequence, size]; one Gather with an index of head rows pads them, and
another one unpads them. The indexes are computed from the padding mask once in a run, because
`GraphBuilder` adds equal nodes only once.

For example, two texts of 3 tokens and 1 token have 6 slots in a padded batch, [2, 3]:

    mask      1 1 1 | 1 0 0
    real      0 1 2 3            slot of each token of the list (`_real`)
    places    0 1 2 | 3 3 3      index in the list of each slot's token (`_places`)
"""

import numpy as np
import onnx

from semserve_export.graphs.graph_builder import GraphBuilder
from semserve_export.model_spec import INPUTS

PADDING_MASK = INPUTS[2]


def pack(graph: GraphBuilder, x: str, hidden: int) -> str:
    """Convert [batch, sequence, hidden] to [tokens, hidden], in the order of the texts."""
    return graph.node("Gather", graph.node("Reshape", x, _ints(graph, -1, hidden)), _real(graph))


def unpack(graph: GraphBuilder, x: str) -> str:
    """Convert [tokens, hidden] to [batch, sequence, hidden]; padding repeats a real token."""
    return graph.node("Gather", x, _places(graph))


def first_of_each(graph: GraphBuilder, x: str) -> str:
    """Convert [tokens, hidden] to [batch, hidden]: the first token of each text."""
    return graph.node("Gather", x, graph.node("Gather", _places(graph), _int(graph, 0), axis=1))


def unpack_heads(
    graph: GraphBuilder, x: str, heads: int, size: int, *, part: int, parts: int
) -> str:
    """Convert [tokens, parts x heads x size] to [batch, heads, sequence, size] of one part."""
    rows = graph.node("Reshape", x, _ints(graph, -1, size))
    first_rows = graph.node("Mul", _places(graph), _int(graph, parts * heads))
    numbers = graph.weight(np.arange(part * heads, (part + 1) * heads).reshape(1, heads, 1))
    places = graph.node("Add", graph.node("Unsqueeze", first_rows, _ints(graph, 1)), numbers)
    return graph.node("Gather", rows, places)


def pack_heads(graph: GraphBuilder, x: str, heads: int, size: int) -> str:
    """Convert [batch, heads, sequence, size] to [tokens, heads x size]."""
    rows = graph.node("Reshape", x, _ints(graph, -1, size))
    real = _real(graph)
    sequence = graph.node("Gather", graph.node("Shape", PADDING_MASK), _int(graph, 1))
    texts = graph.node("Mul", graph.node("Div", real, sequence), _int(graph, heads))
    numbers = graph.weight(np.arange(heads).reshape(1, heads))
    blocks = graph.node("Add", graph.node("Unsqueeze", texts, _ints(graph, 1)), numbers)
    within = graph.node("Unsqueeze", graph.node("Mod", real, sequence), _ints(graph, 1))
    places = graph.node("Add", graph.node("Mul", blocks, sequence), within)
    return graph.node("Reshape", graph.node("Gather", rows, places), _ints(graph, -1, heads * size))


def _real(graph: GraphBuilder) -> str:
    """Add the indices of the real tokens among all slots: int64 [tokens]."""
    return graph.node("Reshape", graph.node("NonZero", _flat_mask(graph)), _ints(graph, -1))


def _places(graph: GraphBuilder) -> str:
    """Add the index of each slot's token in the list: int64 [batch, sequence].

    A padded slot has the index of the last real token before it, or of the first token.
    """
    counted = graph.node("CumSum", _flat_mask(graph), _int(graph, 0))
    places = graph.node("Max", graph.node("Sub", counted, _int(graph, 1)), _int(graph, 0))
    return graph.node("Reshape", places, graph.node("Shape", PADDING_MASK))


def _flat_mask(graph: GraphBuilder) -> str:
    """Add int64 [batch x sequence]: 1 for tokens in the list.

    A text of only padding is in the list with all its slots, so that its row equals that of Keras.
    """
    mask = graph.node("Cast", PADDING_MASK, to=onnx.TensorProto.INT64)
    fullest = graph.node("ReduceMax", mask, axes=[1], keepdims=1)
    empty = graph.node("Sub", _int(graph, 1), fullest)
    return graph.node("Reshape", graph.node("Max", mask, empty), _ints(graph, -1))


def _int(graph: GraphBuilder, value: int) -> str:
    return graph.weight(np.array(value, np.int64))


def _ints(graph: GraphBuilder, *values: int) -> str:
    return graph.weight(np.array(values, np.int64))
