"""Small Keras models of one's own words with random weights, as in tutorials."""

import keras
import numpy as np
from keras import layers
from keras.src.legacy.preprocessing.text import Tokenizer as KerasTokenizer

TRAINED_ON = (
    "the cat sat on the mat and the dog saw it",
    "a dog didn't bark at the cat in the house tonight",
    "we saw a very good film tonight",
    "this film was bad, really bad, we left the house",
)
LENGTH = 10  # shorter than the longest text
INDEX = KerasTokenizer()
INDEX.fit_on_texts(TRAINED_ON)
WORDS = len(INDEX.word_index) + 2


def vectorization(length=None):
    layer = layers.TextVectorization(output_sequence_length=length)
    layer.adapt(TRAINED_ON)
    return layer


def sequential(*parts):
    """Build a model, with weights so large that every mistake shows."""
    model = keras.Sequential(parts)
    return scramble(model)


def scramble(model):
    random = np.random.default_rng(3)
    for variable in model.trainable_variables + model.non_trainable_variables:
        if variable.dtype == "float32":
            variable.assign(random.normal(0, 0.5, variable.shape))
    return model


def masked_average():
    """Tutorial 4 (b): a frozen Embedding with a mask, and the average."""
    table = layers.Embedding(WORDS, 8, mask_zero=True, trainable=False)
    return sequential(keras.Input((None,)), table, layers.GlobalAveragePooling1D())


def flattened():
    return sequential(
        keras.Input((LENGTH,)),
        layers.Embedding(WORDS, 4),
        layers.Flatten(),
        layers.Dropout(0.5),
        layers.Dense(3, activation="softmax"),
    )


def convolved():
    """A Functional model of texts, with the vectorisation inside and no mask."""
    texts = keras.Input((1,), dtype="string")
    ids = vectorization(LENGTH)(texts)
    vectors = layers.Embedding(WORDS, 4)(ids)
    found = layers.Conv1D(5, 3, activation="relu")(vectors)
    pooled = layers.GlobalMaxPooling1D()(found)
    return scramble(keras.Model(texts, layers.Dense(2, activation="sigmoid")(pooled)))


class Recurrent(keras.Model):
    """A class of its own, without a mask."""

    def __init__(self):
        super().__init__()
        self.table = layers.Embedding(WORDS, 4)
        self.lstm = layers.LSTM(5)

    def call(self, ids):
        return keras.ops.tanh(self.lstm(self.table(ids)) * 3)


def recurrent():
    model = Recurrent()
    model(np.ones((1, LENGTH), np.int32))
    return scramble(model)


def pre_padded(texts):
    rows = INDEX.texts_to_sequences(texts)
    return keras.utils.pad_sequences(rows, maxlen=LENGTH)


def one_by_one(model, read):
    return lambda texts: np.concatenate([np.asarray(model(read([text]))) for text in texts])
