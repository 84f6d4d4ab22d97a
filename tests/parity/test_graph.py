"""The exported graph says what Keras says, whatever else is in its batch."""

import gc

import keras
import numpy as np
import onnx
import pytest
import tf2onnx.optimizer
from semserve_export.bundle.tolerance import TOLERANCE, keras_run, largest_difference, onnx_run
from semserve_export.graphs.keras_to_onnx import write_graph
from semserve_export.pipeline.export import comparison_batches
from semserve_export.tokenizers.bert_wordpiece import encode, pad
from tf2onnx.graph import Graph

TEXTS = ("the cat", "the cat sat on the mat.", "hello", "today is 今日, and a café is near!")


def encodings_of(exported):
    texts = [(text, "hello world") for text in TEXTS] if exported.model.spec.pair else TEXTS
    return encode(exported.model.tokenizer, texts, exported.model.spec.max_sequence_length)


def test_onnx_runtime_agrees_with_keras_on_padded_batches_of_many_shapes(exported):
    run = onnx_run(exported.directory / "model.onnx")
    batches = comparison_batches(exported.model)
    assert len({batch["token_ids"].shape for batch in batches}) > 10
    assert largest_difference(keras_run(exported.model.keras_model), run, batches) <= TOLERANCE


def test_a_text_alone_gets_the_row_that_it_gets_in_any_batch_at_any_padding(exported):
    run = onnx_run(exported.directory / "model.onnx")
    encodings = encodings_of(exported)
    alone = np.concatenate([run(pad([encoding])) for encoding in encodings])
    assert np.abs(alone[0] - alone[1]).max() > 100 * TOLERANCE, "the texts must differ"
    for length in (None, 37, exported.model.spec.max_sequence_length):
        together = run(pad(encodings, length))
        np.testing.assert_allclose(together, alone, rtol=0, atol=TOLERANCE)
        backwards = run(pad(encodings[::-1], length))
        np.testing.assert_allclose(backwards[::-1], alone, rtol=0, atol=TOLERANCE)


def test_what_stands_under_the_padding_mask_has_no_influence(exported):
    run = onnx_run(exported.directory / "model.onnx")
    inputs = pad(encodings_of(exported), 40)
    scrawled = dict(inputs, token_ids=np.where(inputs["padding_mask"] == 0, 7, inputs["token_ids"]))
    np.testing.assert_allclose(run(scrawled), run(inputs), rtol=0, atol=TOLERANCE)


def model_of_a_dense_layer():
    inputs = keras.Input((3,), dtype="int32", name="token_ids")
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.ops.cast(inputs, "float32")))
    model(np.ones((1, 3), np.int32))
    return model


def test_a_conversion_keeps_few_copies_of_the_graph(tmp_path, monkeypatch):
    """Each has all weights; tf2onnx can make one before each of its dozen optimisers."""
    copies = []

    def count():
        copies.append(sum(isinstance(one, Graph) for one in gc.get_objects()))
        return tf2onnx.optimizer.IdentityOptimizer()

    for place in range(9):
        monkeypatch.setitem(tf2onnx.optimizer._get_optimizers(), f"counted {place}", count)
    gc.collect()
    write_graph(model_of_a_dense_layer(), ["token_ids"], "embedding", tmp_path / "model.onnx")
    assert len(copies) >= 9
    assert max(copies) <= 2


def test_an_optimiser_that_fails_is_left_out(tmp_path, monkeypatch):
    def fail():
        failed.append("once more")
        raise ValueError("the optimiser cannot read this graph")

    failed = []
    monkeypatch.setitem(tf2onnx.optimizer._get_optimizers(), "failing", fail)
    model = model_of_a_dense_layer()
    write_graph(model, ["token_ids"], "embedding", tmp_path / "model.onnx")
    assert failed
    inputs = np.array([[1, 2, 3], [4, 0, 6]], np.int32)
    rows = onnx_run(tmp_path / "model.onnx")({"token_ids": inputs})
    np.testing.assert_allclose(rows, np.asarray(model(inputs)), rtol=0, atol=TOLERANCE)


def test_a_row_that_is_all_padding_gives_numbers(exported):
    run = onnx_run(exported.directory / "model.onnx")
    inputs = pad(encodings_of(exported), 40)
    inputs["padding_mask"][1] = 0
    assert np.isfinite(run(inputs)).all()


def test_inputs_output_and_axes_have_the_documented_names_and_types(exported):
    graph = onnx.load(exported.directory / "model.onnx").graph
    int32, float32 = onnx.TensorProto.INT32, onnx.TensorProto.FLOAT
    columns = exported.model.keras_model.output_shape[-1]
    assert {name: (int32, ["batch", "sequence"]) for name in exported.manifest["inputs"]} == {
        value.name: described(value) for value in graph.input
    }
    assert {exported.manifest["output"]: (float32, ["batch", columns])} == {
        value.name: described(value) for value in graph.output
    }


def test_every_weight_is_in_the_file_once(exported):
    graph = onnx.load(exported.directory / "model.onnx").graph
    stored = sum(np.prod(tensor.dims) for tensor in graph.initializer)
    assert stored < 1.1 * exported.model.keras_model.count_params()


@pytest.mark.parametrize("varied", ["embedding"], indirect=True)
def test_embeddings_have_length_one(exported):
    rows = onnx_run(exported.directory / "model.onnx")(pad(encodings_of(exported)))
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=0, atol=1e-6)


def described(value):
    tensor = value.type.tensor_type
    return tensor.elem_type, [axis.dim_param or axis.dim_value for axis in tensor.shape.dim]
