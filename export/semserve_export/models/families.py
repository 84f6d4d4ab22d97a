"""The families of KerasHub models that can be exported, and what each does in its own way."""

from dataclasses import dataclass
from typing import Any

import keras_hub

from semserve_export.errors import WeightsError
from semserve_export.model_spec import INPUTS, Activation

models = keras_hub.models


@dataclass(frozen=True, slots=True)
class Family:
    """One architecture: how KerasHub and transformers call it."""

    name: str
    classifier: Any  # the KerasHub task; it knows its backbone and its preprocessor
    gelu: Activation  # in KerasHub, whatever the weights were trained with elsewhere
    model_type: str | None = None  # transformers', where its directories are read
    plain: bool = True  # whether its layers are those of BERT, so that `encoder.py` can read it

    @property
    def backbone(self) -> Any:
        """The backbone's class."""
        return self.classifier.backbone_cls


FAMILIES = (
    Family("BERT", models.BertTextClassifier, "tanh", "bert"),
    Family("RoBERTa", models.RobertaTextClassifier, "erf", "roberta"),
    Family("DistilBERT", models.DistilBertTextClassifier, "erf", "distilbert"),
    Family("ALBERT", models.AlbertTextClassifier, "tanh", "albert"),
    Family("DeBERTa-v3", models.DebertaV3TextClassifier, "erf", "deberta-v2", plain=False),
    Family("XLM-RoBERTa", models.XLMRobertaTextClassifier, "erf", "xlm-roberta"),
)


def family_of(kind: str) -> Family:
    """Return the family of a Hugging Face model type, or of a backbone's registered name.

    Raises:
        WeightsError: there is none; the message says which there are.
    """
    for family in FAMILIES:
        if kind in {family.model_type, f"keras_hub>{family.backbone.__name__}"}:
            return family
    known = ", ".join(family.name for family in FAMILIES)
    raise WeightsError(
        f"holds {kind or 'an unknown model'}, which cannot be exported: what can be is {known}"
    )


def inputs_of(model: Any) -> tuple[str, ...]:
    """Return the names of the model's inputs, in our order."""
    names = {one.name for one in model.inputs}
    return tuple(name for name in INPUTS if name in names)
