"""What a caller of `semserve_export.export` may say, and models that it refuses by name."""

import keras
import numpy as np
import pytest
import semserve_export
from keras import layers
from semserve_export.errors import ExportError
from semserve_export.failures import reason_of

WORDS = {"a": 1, "cat": 2, "dog": 3}
LENGTH = 4


def averaging(outputs=2, dtype="float32"):
    return keras.Sequential(
        [
            keras.Input((LENGTH,)),
            layers.Embedding(len(WORDS) + 1, 3, dtype=dtype),
            layers.GlobalAveragePooling1D(dtype=dtype),
            layers.Dense(outputs),
        ]
    )


def with_two_outputs():
    ids = keras.Input((LENGTH,))
    taken = layers.Flatten()(layers.Embedding(len(WORDS) + 1, 3)(ids))
    heads = {name: layers.Dense(2, name=name)(taken) for name in ("topic", "tone")}
    return keras.Model(ids, heads)


REFUSED = {
    "a task": (averaging, {"task": "classify"}, "task: 'classify' is none of embedding, "),
    "scores": (averaging, {"scores": "Softmax"}, "scores: 'Softmax' is none of softmax, "),
    "a metric": (averaging, {"metric": "cos"}, "metric: 'cos' is none of cosine, "),
    "a side": (averaging, {"padding": "left"}, "padding: 'left' is none of pre, post"),
    "another side": (averaging, {"truncating": "end"}, "truncating: 'end' is none of pre, post"),
    "no length": (averaging, {"padded_length": "12"}, "padded_length: '12' is no number of tokens"),
    "labels in one text": (averaging, {"labels": "ab"}, "labels: 'ab' is one text"),
    "half precision": (
        lambda: averaging(dtype="mixed_bfloat16"),
        {"padding": "post"},
        "the layer global_average_pooling1d",
    ),
    "two outputs": (with_two_outputs, {"padding": "post"}, "the model has the outputs tone, topic"),
    "the softmax of one output": (
        lambda: averaging(1),
        {"padding": "post", "scores": "softmax"},
        "scores: the softmax of one output is always 1",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_no_model_or_call_can_mean_is_refused_in_one_line(tmp_path, case):
    make, output, message = REFUSED[case]
    with pytest.raises(ExportError) as raised:
        semserve_export.export(make(), tmp_path / "mine", tokenizer=WORDS, **output)
    assert str(raised.value).startswith(message)
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize("given", [{"padded_length": 9}, {"padding": "pre"}, {"truncating": "pre"}])
def test_a_transformer_with_its_own_tokenizer_takes_no_setting_of_pad_sequences(tmp_path, given):
    with pytest.raises(ExportError, match=f"^{next(iter(given))}: is for a model that was trained"):
        semserve_export.export("bert_tiny_en_uncased", tmp_path / "mine", **given)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_a_trusted_lambda_finds_the_modules_that_its_program_imported(tmp_path):
    path = tmp_path / "sum.keras"
    ids = keras.Input((LENGTH,))
    taken = layers.Embedding(len(WORDS) + 1, 3)(ids)
    total = layers.Lambda(lambda rows: keras.ops.sum(rows, axis=1) * np.pi, output_shape=(3,))
    keras.Model(ids, total(taken)).save(path)
    report = semserve_export.export(
        path, tmp_path / "sum", tokenizer=WORDS, padding="post", trust=True
    )
    assert "embedding" == report.fact("task").value


def test_an_error_in_a_layer_is_told_by_its_reason():
    def broken(rows):
        raise NameError(f"name 'tk' is not defined, for {rows.shape}")

    layer = layers.Lambda(broken, output_shape=(3,))
    with pytest.raises(NameError) as raised:
        keras.Sequential([keras.Input((3,)), layer]).predict(np.ones((1, 3)), verbose=0)
    assert "name 'tk' is not defined" in reason_of(raised.value)
    assert 1 == len(reason_of(raised.value).splitlines())
