"""A bundle that serves well until a text holds a certain word, which brings a certain trouble.

The trouble is in the graph itself, so that everything around it is the real thing: the runtime's
own loop that does not end, the runtime's own error, numbers that are none.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from chaos.server import TINY

HANG = "piano"
"""A run with this word does not end."""
RAISE = "guitar"
"""A run with this word raises."""
NAN = "subway"
"""A text with this word gets numbers that are none; its neighbours get theirs."""
SLOW = "bus"
"""A run with this word takes some hundred milliseconds."""

FOR_EVER = 2**62
FOR_A_WHILE = 200_000
"""Turns of an empty loop, each of some hundred nanoseconds."""


def make_troubled(models: Path) -> Path:
    """Write the bundle, named `tiny-embed`, into a directory; returns the bundle's."""
    bundle = Path(shutil.copytree(TINY / "tiny-embed", models / "tiny-embed"))
    tokens = json.loads((bundle / "tokenizer.json").read_text())["model"]["vocab"]
    model = onnx.load(bundle / "model.onnx")
    graph = model.graph
    for node in graph.node:
        node.output[:] = ["calm" if name == "embedding" else name for name in node.output]
    graph.node.extend(
        [
            *_flag("hangs", tokens[HANG]),
            *_flag("raises", tokens[RAISE]),
            *_flag("slow", tokens[SLOW]),
            *_flag("nan", tokens[NAN], by_row=True),
            *_turns("hung", "calm", "hangs", FOR_EVER),
            *_turns("slowed", "hung", "slow", FOR_A_WHILE),
            _constant("nothing", np.zeros((1, 1), np.float32)),
            helper.make_node("Gather", ["nothing", "raises"], ["raised"], axis=0),
            helper.make_node("Add", ["slowed", "raised"], ["survived"]),
            helper.make_node("Cast", ["nan"], ["nan_float"], to=TensorProto.FLOAT),
            _constant("one", np.ones((), np.float32)),
            helper.make_node("Sub", ["one", "nan_float"], ["sound"]),
            helper.make_node("Div", ["nothing", "sound"], ["spoilt"]),
            helper.make_node("Add", ["survived", "spoilt"], ["embedding"]),
        ]
    )
    onnx.checker.check_model(model)
    onnx.save(model, bundle / "model.onnx")
    reseal(bundle, "model.onnx")
    return bundle


def reseal(bundle: Path, name: str) -> None:
    """Write a changed file's true size and digest into the manifest, as the export does: last."""
    manifest = json.loads((bundle / "bundle.json").read_text())
    content = (bundle / name).read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    manifest["files"][name] = {"bytes": len(content), "sha256": digest}
    unfinished = bundle / "bundle.json.unfinished"
    unfinished.write_text(json.dumps(manifest))
    unfinished.replace(bundle / "bundle.json")


def _flag(name: str, token: int, *, by_row: bool = False) -> list[onnx.NodeProto]:
    """Make int64 1 where the token occurs: one number for the batch, or [batch, 1]."""
    axes = [_constant(f"{name}_axes", np.array([1], np.int64))] if by_row else []
    return [
        _constant(f"{name}_token", np.array(token, np.int32)),
        helper.make_node("Equal", ["token_ids", f"{name}_token"], [f"{name}_found"]),
        helper.make_node("Cast", [f"{name}_found"], [f"{name}_number"], to=TensorProto.INT64),
        *axes,
        helper.make_node(
            "ReduceMax",
            [f"{name}_number", *(f"{name}_axes" for _ in axes)],
            [name],
            keepdims=int(by_row),
        ),
    ]


def _turns(output: str, value: str, flag: str, turns: int) -> list[onnx.NodeProto]:
    """Make a loop that hands `value` on after so many empty turns, or at once without the flag."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", [f"{output}_go"], [f"{output}_going"]),
            helper.make_node("Identity", [f"{output}_in"], [f"{output}_out"]),
        ],
        f"{output}_turn",
        [
            helper.make_tensor_value_info(f"{output}_turn", TensorProto.INT64, []),
            helper.make_tensor_value_info(f"{output}_go", TensorProto.BOOL, []),
            helper.make_tensor_value_info(f"{output}_in", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info(f"{output}_going", TensorProto.BOOL, []),
            helper.make_tensor_value_info(f"{output}_out", TensorProto.FLOAT, None),
        ],
    )
    return [
        _constant(f"{output}_most", np.array(turns, np.int64)),
        helper.make_node("Mul", [flag, f"{output}_most"], [f"{output}_turns"]),
        helper.make_node("Loop", [f"{output}_turns", "", value], [output], body=body),
    ]


def _constant(name: str, value: np.ndarray) -> onnx.NodeProto:
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(value, name))
