"""Models of two texts, as people write them: small, random, each with its own comparison."""

import keras
import keras_hub
import numpy as np
import tensorflow as tf
from keras import layers, ops

WORDS = [
    "the",
    "a",
    "cat",
    "dog",
    "sat",
    "on",
    "mat",
    "saw",
    "good",
    "bad",
    "film",
    "house",
    "we",
    "left",
    "tonight",
    "really",
    "very",
]
ROWS, WIDTH = len(WORDS) + 2, 6


def vectorization():
    return layers.TextVectorization(vocabulary=WORDS)


def scrambled(model):
    """Draw every weight anew, so large that every mistake shows."""
    random = np.random.default_rng(3)
    for variable in model.weights:
        if "float" in str(variable.dtype):
            variable.assign(random.normal(0, 0.5, variable.shape))
    return model


def id_inputs(*names, length=None, dtype="int32"):
    return [keras.Input((length,), dtype=dtype, name=name) for name in names]


def encoder():
    parts = [layers.Embedding(ROWS, WIDTH, mask_zero=True), layers.GlobalAveragePooling1D()]
    return keras.Sequential([*parts, layers.Dense(WIDTH, activation="tanh")])


def shared(compare):
    """Build a model of one encoder for both sides, and what compares their vectors."""
    left, right = id_inputs("left", "right")
    tower = encoder()
    return scrambled(keras.Model([left, right], compare(tower(left), tower(right))))


def cosine_by_dot():
    """Tutorial 4 (b): the same embedding and average, and a Dot layer; inputs by their names."""
    inputs = dict(zip(("premise", "hypothesis"), id_inputs("premise", "hypothesis"), strict=True))
    table = layers.Embedding(ROWS, WIDTH, mask_zero=True, trainable=False)
    average = layers.GlobalAveragePooling1D()
    vectors = [average(table(ids)) for ids in inputs.values()]
    return scrambled(keras.Model(inputs, layers.Dot(axes=1, normalize=True)(vectors)))


def cosine_by_operations():
    return shared(lambda u, v: ops.sum(u * v, axis=1) / (ops.norm(u, axis=1) * ops.norm(v, axis=1)))


def manhattan_by_lambda():
    similarity = layers.Lambda(lambda pair: ops.exp(-ops.sum(ops.abs(pair[0] - pair[1]), axis=1)))
    return shared(lambda u, v: similarity([u, v]))


class Distance(layers.Layer):
    """The Euclidean distance of a contrastive loss."""

    def call(self, left, right):
        square = ops.sum(ops.square(left - right), axis=1, keepdims=True)
        return ops.sqrt(ops.maximum(square, keras.config.epsilon()))


def euclidean_by_a_layer():
    return shared(Distance())


def dot_of_words_in_sequences_of_ten():
    """No mask: an answer depends on the length that everything was padded to."""
    sides = id_inputs("left", "right", length=10, dtype="float32")
    table, flat, dense = layers.Embedding(ROWS, 3), layers.Flatten(), layers.Dense(WIDTH)
    return scrambled(keras.Model(sides, layers.Dot(1)([dense(flat(table(one))) for one in sides])))


def a_dense_layer_for_each_side():
    sides = id_inputs("question", "answer")
    table = layers.Embedding(ROWS, WIDTH, mask_zero=True)
    average = layers.GlobalAveragePooling1D()
    vectors = [layers.Dense(WIDTH)(average(table(ids))) for ids in sides]
    return scrambled(keras.Model(sides, layers.Dot(axes=1, normalize=True)(vectors)))


def two_lstms():
    """Tutorial 4 (a): the same embedding, an LSTM for each side."""
    sides = id_inputs("left", "right")
    table = layers.Embedding(ROWS, WIDTH, mask_zero=True)
    cosine = layers.Lambda(
        lambda pair: ops.sum(ops.normalize(pair[0]) * ops.normalize(pair[1]), axis=1)
    )
    return scrambled(keras.Model(sides, cosine([layers.LSTM(4)(table(ids)) for ids in sides])))


def nested():
    """A two-input model inside another one."""
    inner = cosine_by_operations()
    sides = id_inputs("x", "y")
    return keras.Model(sides, inner(sides))


def of_strings():
    """Strings in, with the TextVectorization inside the shared encoder."""
    reading = keras.Sequential([vectorization(), encoder()])
    sides = [keras.Input((1,), dtype="string", name=name) for name in ("left", "right")]
    vectors = [reading(text) for text in sides]
    return scrambled(keras.Model(sides, layers.Dot(axes=1, normalize=True)(vectors)))


def of_a_length_too():
    """Strings in; the length of one goes to the last layer beside the vectors."""
    reading = keras.Sequential([vectorization(), encoder()])
    left, right = (keras.Input((1,), dtype="string", name=name) for name in ("left", "right"))
    length = layers.Lambda(
        lambda text: tf.cast(tf.strings.length(text), "float32"), (1,), dtype="float32"
    )(left)
    both = layers.Concatenate()([length, reading(left), reading(right)])
    return scrambled(keras.Model([left, right], layers.Dense(1)(both)))


class ByKerasOperations(keras.Model):
    """A subclass of keras.Model that takes a dictionary."""

    def __init__(self):
        super().__init__()
        self.tower = encoder()

    def call(self, inputs):
        left, right = self.tower(inputs["left"]), self.tower(inputs["right"])
        return ops.exp(-ops.sum(ops.abs(left - right), axis=1, keepdims=True))


class ByTensorFlow(keras.Model):
    """A subclass that Keras cannot trace by symbols: it uses TensorFlow's own functions."""

    def __init__(self):
        super().__init__()
        self.tower = encoder()

    def call(self, inputs, training=False):  # noqa: FBT002 - as Keras calls it
        left, right = (self.tower(one, training=training) for one in inputs)
        return tf.exp(-tf.reduce_sum(tf.abs(left - right), axis=1))


class OfTwoArguments(keras.Model):
    """A subclass whose call takes the two texts by name."""

    def __init__(self):
        super().__init__()
        self.tower = encoder()

    def call(self, question, document):
        return ops.sum(self.tower(question) * self.tower(document), axis=1)


def by_keras_operations():
    model = ByKerasOperations()
    model({name: np.ones((1, 4), np.int32) for name in ("left", "right")})
    return scrambled(model)


def by_tensorflow():
    model = ByTensorFlow()
    model((np.ones((1, 4), np.int32), np.ones((1, 5), np.int32)))
    return scrambled(model)


def of_two_arguments():
    model = OfTwoArguments()
    model(np.ones((1, 4), np.int32), np.ones((1, 5), np.int32))
    return scrambled(model)


def score_of_a_difference():
    return shared(lambda u, v: layers.Dense(1, activation="sigmoid")(ops.abs(u - v)))


def manhattan_of_half_the_distance():
    return shared(lambda u, v: ops.exp(-0.5 * ops.sum(ops.abs(u - v), axis=1)))


def classes_of_both():
    def compare(left, right):
        both = ops.concatenate([left, right, ops.abs(left - right)], axis=1)
        return layers.Dense(3, activation="softmax")(both)

    return shared(compare)


def triplets():
    tower = encoder()
    inputs = id_inputs("anchor", "good", "bad")
    anchor, good, bad = (tower(ids) for ids in inputs)
    return scrambled(keras.Model(inputs, ops.sum(anchor * good - anchor * bad, axis=1)))


def two_vocabularies():
    towers = [
        keras.Sequential([layers.TextVectorization(vocabulary=words), encoder()])
        for words in (WORDS, WORDS[::-1])
    ]
    sides = [keras.Input((1,), dtype="string", name=name) for name in ("left", "right")]
    vectors = [tower(text) for tower, text in zip(towers, sides, strict=True)]
    return scrambled(keras.Model(sides, layers.Dot(axes=1)(vectors)))


def a_text_and_its_features():
    ids, features = id_inputs("ids")[0], keras.Input((5,), name="features")
    both = ops.concatenate([encoder()(ids), features], axis=1)
    return scrambled(keras.Model([ids, features], layers.Dense(1)(both)))


def hypothesis_first():
    """The inputs of a classifier in the order of KerasHub's tutorial, called by their names."""
    sides = id_inputs("hypothesis", "premise")
    tower = encoder()
    vectors = ops.concatenate([tower(ids) for ids in sides], axis=1)
    return scrambled(keras.Model(sides, layers.Dense(2, activation="softmax")(vectors)))


def two_texts_in_one_sequence():
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    tokenizer = keras_hub.tokenizers.BertTokenizer(pieces, lowercase=True)
    reading = keras_hub.models.BertTextClassifierPreprocessor(tokenizer, sequence_length=12)
    sides = [keras.Input((), dtype="string", name=name) for name in ("left", "right")]
    ids = reading(x=tuple(sides))["token_ids"]
    average = layers.GlobalAveragePooling1D()(layers.Embedding(len(pieces), WIDTH)(ids))
    return keras.Model(sides, layers.Dense(1)(average))
