"""The families of KerasHub models that can be exported, and what each does in its own way."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import keras_hub

from semserve_export.errors import WeightsError
from semserve_export.spec import INPUTS, Activation

models = keras_hub.models
ROBERTA_HEAD = {"pooled_dense": "classifier.dense", "output_dense": "classifier.out_proj"}


@dataclass(frozen=True, slots=True)
class Family:
    """One architecture: how KerasHub calls it, and what its Hugging Face directories hold."""

    name: str
    classifier: Any  # the KerasHub task; it knows its backbone and its preprocessor
    gelu: Activation  # in KerasHub, whatever the weights were trained with elsewhere
    model_type: str | None = None  # Hugging Face's, where KerasHub reads its directories
    head: Mapping[str, str] = field(default_factory=dict)  # layers of the task by their names there
    plain: bool = True  # whether its layers are those of BERT, so that `encoder.py` can read it

    @property
    def backbone(self) -> Any:
        """The backbone's class."""
        return self.classifier.backbone_cls


FAMILIES = (
    Family("BERT", models.BertTextClassifier, "tanh", "bert", {"output_dense": "classifier"}),
    Family("RoBERTa", models.RobertaTextClassifier, "erf", "roberta", ROBERTA_HEAD),
    Family(
        "DistilBERT",
        models.DistilBertTextClassifier,
        "erf",
        "distilbert",
        {"pooled_dense": "pre_classifier", "output_dense": "classifier"},
    ),
    Family("ALBERT", models.AlbertTextClassifier, "tanh", "albert", {"output_dense": "classifier"}),
    Family("DeBERTa-v3", models.DebertaV3TextClassifier, "erf", plain=False),
    Family("XLM-RoBERTa", models.XLMRobertaTextClassifier, "erf", "xlm-roberta", ROBERTA_HEAD),
)
REASONS = {
    "deberta-v2": "KerasHub reads no Hugging Face directory of a DeBERTa; save it from KerasHub",
}


def family_of(kind: str) -> Family:
    """Return the family of a Hugging Face model type, or of a backbone's registered name.

    Raises:
        WeightsError: there is none; the message says which there are, and why where we know.
    """
    for family in FAMILIES:
        if kind in {family.model_type, f"keras_hub>{family.backbone.__name__}"}:
            return family
    known = ", ".join(family.name for family in FAMILIES)
    reason = REASONS.get(kind, f"what can be exported is {known}")
    raise WeightsError(f"holds {kind or 'an unknown model'}, which cannot be exported: {reason}")


def inputs_of(model: Any) -> tuple[str, ...]:
    """Return the names of the model's inputs, in our order."""
    names = {one.name for one in model.inputs}
    return tuple(name for name in INPUTS if name in names)
