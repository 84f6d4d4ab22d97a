"""Cuts a graph before its pooling, for servers that pool by themselves.

A script for the export environment, which has `onnx`: `cut_graph.py GRAPH TARGET`. What it writes
takes int64 `input_ids`, `attention_mask` and `token_type_ids` and gives `last_hidden_state`, the
names under which BERT graphs are published.
"""

import sys
from pathlib import Path

import onnx
from onnx import TensorProto, helper

PUBLISHED = {
    "token_ids": "input_ids",
    "padding_mask": "attention_mask",
    "segment_ids": "token_type_ids",
}
RESHAPING = {"Cast", "Unsqueeze", "Reshape", "Identity"}
"""Operators that leave a mask a mask."""


def cut(graph: Path, target: Path) -> None:
    """Write the part of `graph` up to the vectors of its tokens as `target`."""
    model = onnx.load(graph)
    hidden = _masked(model.graph)
    node = next(node for node in model.graph.node if hidden in node.output)
    del node.output[:]
    node.output.append("last_hidden_state")
    _use(model.graph, hidden, "last_hidden_state")
    _drop_unused(model.graph, "last_hidden_state")
    publish_inputs(model.graph)
    del model.graph.output[:]
    model.graph.output.append(
        helper.make_tensor_value_info(
            "last_hidden_state", TensorProto.FLOAT, ["batch", "sequence", "hidden"]
        )
    )
    del model.graph.value_info[:]
    target.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, target)


def _masked(graph: onnx.GraphProto) -> str:
    """Find what mean pooling multiplies by the mask: the last such product of the graph."""
    masks = {"padding_mask"}
    found = None
    for node in graph.node:
        if node.op_type in RESHAPING and node.input[0] in masks:
            masks.update(node.output)
        elif node.op_type == "Mul" and len(masks & set(node.input)) == 1:
            found = next(name for name in node.input if name not in masks)
    if found is None:
        raise SystemExit("the graph has no mean pooling to cut off")
    return found


def _use(graph: onnx.GraphProto, old: str, new: str) -> None:
    for node in graph.node:
        node.input[:] = [new if name == old else name for name in node.input]


def _drop_unused(graph: onnx.GraphProto, output: str) -> None:
    """Keep the nodes and weights that `output` needs; nodes are in topological order."""
    needed = {output}
    kept = []
    for node in reversed(graph.node):
        if needed & set(node.output):
            needed.update(node.input)
            kept.append(node)
    weights = [tensor for tensor in graph.initializer if tensor.name in needed]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(reversed(kept))
    graph.initializer.extend(weights)


def publish_inputs(graph: onnx.GraphProto) -> None:
    """Take int64 under the published names, and cast to what the graph has always taken."""
    casts = []
    for value in graph.input:
        published = PUBLISHED[value.name]
        casts.append(helper.make_node("Cast", [published], [value.name], to=TensorProto.INT32))
        value.name = published
        value.type.tensor_type.elem_type = TensorProto.INT64
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


if __name__ == "__main__":
    cut(Path(sys.argv[1]), Path(sys.argv[2]))
