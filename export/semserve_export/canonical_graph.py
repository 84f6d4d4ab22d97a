"""A graph's nodes in one order and by one set of names, so that one model is always the same bytes.

tf2onnx numbers what it makes by counters of its process and by addresses in memory, and its order of
nodes depends on those names.
"""

from collections.abc import Iterator, Mapping

import onnx


def make_canonical(graph: onnx.GraphProto) -> None:
    """Order the nodes as its outputs need them, and name nodes, values and weights by that order.

    The names of the graph's own inputs and outputs stay. What no output needs is left out.
    """
    kept = {value.name: value.name for value in (*graph.input, *graph.output)}
    _rename(graph, kept, prefix="")


def _rename(graph: onnx.GraphProto, known: Mapping[str, str], prefix: str) -> None:
    """Rename what a graph makes.

    Args:
        graph: changed in place.
        known: new names by old ones: of what is outside a loop's body, and of what stays.
        prefix: of every new name.
    """
    names = dict(known)
    weights = {tensor.name: tensor for tensor in graph.initializer}
    for place, value in enumerate(graph.input):
        names.setdefault(value.name, f"{prefix}input_{place}")
    ordered = list(_in_order(graph))
    used: list[onnx.TensorProto] = []

    def take(old: str) -> None:
        if old in weights:
            tensor = weights.pop(old)
            names[old] = f"{prefix}weight_{len(used)}"
            used.append(tensor)

    for place, node in enumerate(ordered):
        for old in (*node.input, *_free_names(node)):
            take(old)
        name = f"{prefix}{node.op_type}_{place}"
        for number, output in enumerate(node.output):
            if output:
                names.setdefault(output, f"{name}:{number}" if number else name)
        node.name = name
    for value in graph.output:
        take(value.name)
    for node in ordered:
        node.input[:] = [names.get(old, old) for old in node.input]
        node.output[:] = [names.get(old, old) for old in node.output]
        for body in _bodies(node):
            _rename(body, names, prefix=f"{node.name}/")
    for tensor in used:
        tensor.name = names[tensor.name]
    for value in (*graph.input, *graph.output):
        value.name = names[value.name]
    kept_nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in ordered]
    kept_weights = [onnx.TensorProto.FromString(each.SerializeToString()) for each in used]
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(kept_nodes)
    graph.initializer.extend(kept_weights)


def _in_order(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Give each node after those that it needs, beginning at the first output."""
    makers = {output: node for node in graph.node for output in node.output if output}
    done: set[int] = set()
    stack = [
        (makers[value.name], False) for value in reversed(graph.output) if value.name in makers
    ]
    while stack:
        node, ready = stack.pop()
        if id(node) in done:
            continue
        if ready:
            done.add(id(node))
            yield node
            continue
        stack.append((node, True))
        needed = [name for name in (*node.input, *_free_names(node)) if name in makers]
        stack += [(makers[name], False) for name in reversed(needed)]


def _bodies(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs


def _free_names(node: onnx.NodeProto) -> list[str]:
    """Return what a loop's body takes from outside, in the order of its use."""
    found: list[str] = []
    for body in _bodies(node):
        own = {value.name for value in body.input} | {tensor.name for tensor in body.initializer}
        own |= {output for each in body.node for output in each.output}
        used = [name for each in _in_order(body) for name in (*each.input, *_free_names(each))]
        used += [value.name for value in body.output]
        found += [name for name in dict.fromkeys(used) if name and name not in own]
    return found
