"""The changes of a training to a word model, stored in the repository.

    adapter.safetensors    words/rows int32 [n], words/change fp16 [n, dimensions]: what is added to
                           the vectors of these ids; every other weight by its name, fp32
    adapter.json           the recipe, the plan, the measured figures, the digest of the vectors

A word that no training text had keeps its public vector.
"""

from pathlib import Path
from typing import Any

from semserve_export.errors import AdapterError
from semserve_export.models.delta_adapter import TENSORS, read_tensors
from semserve_export.word_vectors.word_model import WORDS

ROWS, CHANGE = f"{WORDS}/rows", f"{WORDS}/change"


def apply_word_adapter(directory: Path, encoder: Any) -> None:
    """Apply an adapter to an encoder with the public table.

    Raises:
        AdapterError: the file is damaged, or belongs to another encoder.
    """
    path = directory / TENSORS
    tensors = read_tensors(path)
    words, others = encoder.get_layer(WORDS), _other_weights(encoder)
    (table,) = words.get_weights()
    if unlike := {ROWS, CHANGE, *others} ^ set(tensors):
        raise AdapterError(f"{path}: {min(unlike)} is not both in it and in the model")
    rows, change = tensors.pop(ROWS), tensors.pop(CHANGE)
    if change.shape != (len(rows), table.shape[1]) or (
        len(rows) and not 0 <= rows.min() <= rows.max() < len(table)
    ):
        raise AdapterError(f"{path}: {CHANGE} {change.shape} does not fit {table.shape}")
    table[rows] += change
    words.set_weights([table])
    for name, variable in others.items():
        if tensors[name].shape != tuple(variable.shape):
            raise AdapterError(f"{path}: {name} is {tensors[name].shape}, not {variable.shape}")
        variable.assign(tensors[name])


def _other_weights(encoder: Any) -> dict[str, Any]:
    return {
        variable.path: variable
        for variable in encoder.trainable_variables
        if not variable.path.startswith(f"{WORDS}/")
    }
