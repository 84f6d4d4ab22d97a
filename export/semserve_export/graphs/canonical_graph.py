"""Sorts and renames the nodes of a graph, so that a model always gives the same bytes.

The names of tf2onnx contain counters of the process and memory addresses, and its order of nodes
depends on these names.
"""

from collections.abc import Iterator, Mapping, Sequence

import onnx


def make_canonical(graph: onnx.GraphProto) -> None:
    """Sort nodes in the order in which outputs need them, and rename everything by that order.

    The names of the graph's inputs and outputs stay. Nodes that no output needs are removed.
    """
    kept = {value.name: value.name for value in (*graph.input, *graph.output)}
    _rename(graph, kept, prefix="")


def _rename(graph: onnx.GraphProto, known: Mapping[str, str], prefix: str) -> None:
    """Rename the values of a graph.

    Args:
        graph: changed in place.
        known: new names by old names, for values outside a loop's body and for unchanged names.
        prefix: prefix of every new name.
    """
    names, ordered = dict(known), list(_in_order(graph))
    for place, value in enumerate(graph.input):
        names.setdefault(value.name, f"{prefix}input_{place}")
    for place, node in enumerate(ordered):
        node.name = f"{prefix}{node.op_type}_{place}"
        for number, output in enumerate(node.output):
            if output:
                names.setdefault(output, f"{node.name}:{number}" if number else node.name)
    weights = _in_order_of_use(graph, ordered)
    names |= {tensor.name: f"{prefix}weight_{place}" for place, tensor in enumerate(weights)}
    for node in ordered:
        node.input[:] = [names.get(old, old) for old in node.input]
        node.output[:] = [names.get(old, old) for old in node.output]
        for body in _bodies(node):
            _rename(body, names, prefix=f"{node.name}/")
    for tensor in weights:
        tensor.name = names[tensor.name]
    for value in (*graph.input, *graph.output):
        value.name = names[value.name]
    _replace(graph, ordered, weights)


def _in_order_of_use(
    graph: onnx.GraphProto, ordered: Sequence[onnx.NodeProto]
) -> list[onnx.TensorProto]:
    """Return the weights that are used, in the order in which the nodes use them."""
    weights = {tensor.name: tensor for tensor in graph.initializer}
    used = [name for node in ordered for name in (*node.input, *_free_names(node))]
    used += [value.name for value in graph.output]
    return [weights[name] for name in dict.fromkeys(used) if name in weights]


def _replace(
    graph: onnx.GraphProto, nodes: Sequence[onnx.NodeProto], weights: Sequence[onnx.TensorProto]
) -> None:
    """Replace the nodes and weights of the graph by the sorted ones."""
    whole = onnx.GraphProto()
    whole.node.extend(nodes)
    whole.initializer.extend(weights)
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(whole.node)
    graph.initializer.extend(whole.initializer)


def _in_order(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Yield each node after the nodes that it needs, starting at the first output."""
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
    """Return the outer values that a loop's body uses, in the order of their use."""
    found: list[str] = []
    for body in _bodies(node):
        local = {value.name for value in body.input} | {tensor.name for tensor in body.initializer}
        local |= {output for each in body.node for output in each.output}
        used = [name for each in _in_order(body) for name in (*each.input, *_free_names(each))]
        used += [value.name for value in body.output]
        found += [name for name in dict.fromkeys(used) if name and name not in local]
    return found
