"""Reads the tensors of a Hugging Face directory as the named weights of an encoder.

Each tensor of the file is used, or known to be unneeded. Any other tensor is refused by its name,
and so is a missing one, or one with another shape than in config.json.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

import numpy as np

from semserve_export.encoder_weights import (
    Array,
    Classifier,
    Dense,
    Embeddings,
    EncoderWeights,
    Layer,
    Norm,
    Pool,
    Pooler,
    Relative,
    SparseHead,
)
from semserve_export.errors import WeightsError
from semserve_export.hugging_face.config import Architecture
from semserve_export.hugging_face.heads.splade import SpladePooling
from semserve_export.hugging_face.tensor_names import (
    BUFFERS,
    CLASSIFIER_HEADS,
    LANGUAGE_HEADS,
    NAMES,
    ROBERTA,
    LanguageHeadNames,
    canonical,
)

POOLER_ACTIVATIONS: Mapping[str, Literal["tanh", "relu", "gelu"]] = MappingProxyType(
    {"distilbert": "relu", "deberta-v2": "gelu"}
)
"""Activation of a classifier's pooler by `model_type`; the default is tanh."""


class EncoderReader:
    """Reads the parts of one model, and records which tensors were read."""

    def __init__(self, tensors: Mapping[str, Array], architecture: Architecture) -> None:
        """Map the names of the file to those of the family.

        Raises:
            WeightsError: two tensors of the file map to the same name.
        """
        self.architecture = architecture
        self.names = NAMES[architecture.model_type]
        self._tensors = tensors
        self._stored: dict[str, str] = {}
        self._used: set[str] = set()
        for name in tensors:
            plain = canonical(name, self.names)
            if plain in self._stored:
                raise WeightsError(f"the weights have {self._stored[plain]} and {name}: which one?")
            self._stored[plain] = name

    def encoder(self, head: Pool | Classifier | SparseHead) -> EncoderWeights:
        """Read the encoder without the head.

        Raises:
            WeightsError: a tensor is missing or has another shape.
        """
        architecture = self.architecture
        return EncoderWeights(
            embeddings=self._embeddings(),
            layers=self._layers(),
            head=head,
            heads=architecture.heads,
            epsilon=architecture.epsilon,
            activation=architecture.activation,
        )

    def classifier(self) -> Classifier:
        """Read the head of a sequence classifier.

        Raises:
            WeightsError: it is missing.
        """
        hidden, names = self.architecture.hidden, self.names.head
        logits = names[-1]
        outputs = self.rows(f"{logits}.weight")
        if len(names) > 1:
            activation = POOLER_ACTIVATIONS.get(self.architecture.model_type, "tanh")
            pooler = Pooler(self._dense(names[0], hidden, hidden), activation)
        else:
            pooler = Pooler(self._dense(self.names.pooler or "pooler", hidden, hidden), "tanh")
        return Classifier(pooler, self._dense(logits, hidden, outputs))

    def language_head(self, splade: SpladePooling, *, tied: bool) -> SparseHead:
        """Read the head of a masked language model.

        Args:
            splade: the pooling of its logits.
            tied: whether the table of words is also the decoder (`tie_word_embeddings`).

        Raises:
            WeightsError: a part is missing, or parts contradict each other.
        """
        facts, names = self.architecture, self.names.language_head
        if names is None:
            raise WeightsError(
                f"{facts.model_type}: the head of its language model cannot be exported"
            )
        words = self._table("word_embeddings", facts.vocabulary)
        decoder = f"{names.decoder}.weight"
        if decoder in self._stored or not tied:
            decoder_kernel = self._shaped(decoder, words.shape)
            if tied and not np.array_equal(decoder_kernel, words):
                raise WeightsError(
                    f"the weights' {decoder} is not the table of words, and config.json says"
                    " tie_word_embeddings"
                )
            words = decoder_kernel
        return SparseHead(
            transform=self._dense(names.transform, facts.hidden, facts.width),
            activation="erf" if self.names is ROBERTA else facts.activation,
            norm=self._norm(names.norm, facts.width),
            words=words,
            bias=self._language_bias(names, facts.vocabulary),
            pooling=splade.strategy,
            logarithms=splade.logarithms,
        )

    def _language_bias(self, names: LanguageHeadNames, vocabulary: int) -> Array:
        """Read the bias, which some releases store under two names."""
        stored = [
            self._shaped(name, (vocabulary,))
            for name in (names.bias, f"{names.decoder}.bias")
            if name in self._stored
        ]
        if not stored:
            raise WeightsError(f"the weights lack {names.bias or f'{names.decoder}.bias'}")
        if not np.array_equal(stored[0], stored[-1]):
            raise WeightsError(f"the weights' {names.bias} and {names.decoder}.bias differ")
        return stored[0]

    def pooler(self) -> Pooler:
        """Read the pooler, the dense layer on the first token.

        Raises:
            WeightsError: the model has none.
        """
        name, hidden = self.names.pooler, self.architecture.hidden
        if name is None or f"{name}.weight" not in self._stored:
            raise WeightsError("the model has no pooler, so --pooling pooled is not for it")
        return Pooler(self._dense(name, hidden, hidden), "tanh")

    def pooler_or_identity(self) -> Dense:
        """Read the pooler, or create an identity pooler with tanh, for a training."""
        hidden = self.architecture.hidden
        if self.names.pooler and f"{self.names.pooler}.weight" in self._stored:
            return self.pooler().dense
        return Dense(np.eye(hidden, dtype=np.float32), np.zeros(hidden, np.float32))

    def rows(self, name: str) -> int:
        """Return the number of rows of a tensor.

        Raises:
            WeightsError: it is missing.
        """
        return len(self._tensor(name))

    def require_used(self, *, classifier_dropped: bool) -> None:
        """Refuse tensors that were not read, unless they are known to be unneeded.

        Args:
            classifier_dropped: whether the classifier's head is not used on purpose.

        Raises:
            WeightsError: the message names the first such tensor.
        """
        for name in sorted(self._stored.keys() - self._used):
            needless = [BUFFERS, LANGUAGE_HEADS, *([CLASSIFIER_HEADS] * classifier_dropped)]
            is_pooler = self.names.pooler and name.startswith(f"{self.names.pooler}.")
            if not is_pooler and not any(known.search(name) for known in needless):
                raise WeightsError(
                    f"the weights have {self._stored[name]}, which nothing in config.json uses;"
                    " what it computes would be lost"
                )

    def _embeddings(self) -> Embeddings:
        facts = self.architecture
        tokens = self._table("word_embeddings", facts.vocabulary)
        if facts.buckets:
            norm = self._norm("embeddings.LayerNorm", facts.width)
            none = np.zeros((facts.positions, 0), np.float32)
            return Embeddings(tokens=tokens, positions=none, norm=norm, relative=self._relative())
        positions = self._table("position_embeddings", facts.positions)[facts.first_position :]
        segments = None
        if facts.segments:
            segments = self._table("token_type_embeddings", facts.segments)
        if facts.first_position and segments is not None:
            # All tokens of a RoBERTa have the first segment, so its row is added to each position.
            positions, segments = positions + segments[0], None
        projection = None
        if facts.model_type == "albert":
            projection = self._dense(
                "encoder.embedding_hidden_mapping_in", facts.width, facts.hidden
            )
        norm = self._norm("embeddings.LayerNorm", facts.width)
        return Embeddings(
            tokens=tokens, positions=positions, segments=segments, norm=norm, projection=projection
        )

    def _relative(self) -> Relative:
        """Read a DeBERTa's table of relative positions, with its norm."""
        facts = self.architecture
        table = self._shaped("encoder.rel_embeddings.weight", (2 * facts.buckets, facts.hidden))
        return Relative(table, self._norm("encoder.LayerNorm", facts.hidden))

    def _layers(self) -> tuple[Layer, ...]:
        """Read the layers in the order in which they run; in ALBERT some layers are shared."""
        facts = self.architecture
        if facts.model_type != "albert":
            self._require_no_more(facts.layers)
            return tuple(
                self._layer(self.names.layer.format(place=place)) for place in range(facts.layers)
            )
        groups = [
            [
                self._layer(self.names.layer.format(group=group, inner=inner))
                for inner in range(facts.layers_in_group)
            ]
            for group in range(facts.groups)
        ]
        times = facts.layers // facts.groups
        return tuple(layer for group in groups for layer in times * group)

    def _require_no_more(self, layers: int) -> None:
        after = self.names.layer.format(place=layers) + "."
        if any(name.startswith(after) for name in self._stored):
            raise WeightsError(f"the weights have more than config.json's {layers} layers")

    def _layer(self, name: str) -> Layer:
        hidden, inner, parts = self.architecture.hidden, self.architecture.inner, self.names.parts
        return Layer(
            query=self._dense(f"{name}.{parts.query}", hidden, hidden),
            key=self._dense(f"{name}.{parts.key}", hidden, hidden),
            value=self._dense(f"{name}.{parts.value}", hidden, hidden),
            attention_output=self._dense(f"{name}.{parts.attention_output}", hidden, hidden),
            attention_norm=self._norm(f"{name}.{parts.attention_norm}", hidden),
            up=self._dense(f"{name}.{parts.up}", hidden, inner),
            down=self._dense(f"{name}.{parts.down}", inner, hidden),
            norm=self._norm(f"{name}.{parts.norm}", hidden),
        )

    def _table(self, name: str, rows: int) -> Array:
        return self._shaped(f"embeddings.{name}.weight", (rows, self.architecture.width))

    def _norm(self, name: str, width: int) -> Norm:
        return Norm(*(self._shaped(f"{name}.{part}", (width,)) for part in ("weight", "bias")))

    def _dense(self, name: str, inputs: int, outputs: int) -> Dense:
        kernel = self._shaped(f"{name}.weight", (outputs, inputs))
        return Dense(np.ascontiguousarray(kernel.T), self._shaped(f"{name}.bias", (outputs,)))

    def _shaped(self, name: str, shape: tuple[int, ...]) -> Array:
        tensor = self._tensor(name)
        if tensor.shape != shape:
            raise WeightsError(
                f"the weights' {name} has the shape {tensor.shape}, config.json says {shape}"
            )
        return tensor

    def _tensor(self, name: str) -> Array:
        if name not in self._stored:
            raise WeightsError(f"the weights lack {name}")
        self._used.add(name)
        return self._tensors[self._stored[name]]
