"""The state of a training on disk, from which an interrupted training continues exactly."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from semserve_export.errors import ExportError
from semserve_export.models.delta_adapter import Arrays
from semserve_export.training.files import CHECKPOINT

KEPT = "kept/"
STEPS_BETWEEN_REPORTS = 50
STEPS_BETWEEN_CHECKPOINTS = 250  # a multiple of the above: no half-told report has to be kept
SECONDS_BETWEEN_CHECKPOINTS = 300  # where steps are slow: at the next report after so long

State = Mapping[str, Any]
"""The variables that a step changes, by name."""


@dataclass(slots=True)
class TrainerState:
    """The progress of a training."""

    step: int = 0
    measures: list[float] = field(default_factory=list)  # after each epoch; the largest is best
    best_epoch: int = 0  # counted from 1
    seconds: int = 0
    values: Arrays = field(
        default_factory=dict
    )  # values of the best or the last epoch, which are kept


class Checkpoint:
    """One file with all data that a training needs to continue, written atomically.

    Args:
        directory: its directory.
        training: hyperparameters and digests that identify the training; other checkpoints are
            refused.
    """

    def __init__(self, directory: Path, training: Mapping[str, Any]) -> None:
        self._path = directory / CHECKPOINT
        self._training = json.loads(json.dumps(training))

    def save(self, variables: State, state: TrainerState, seconds: int) -> None:
        """Write weights, optimizer and the state of the random generators of the dropout."""
        facts = {
            "training": self._training,
            "step": state.step,
            "measures": state.measures,
            "best_epoch": state.best_epoch,
            "seconds": seconds,
        }
        tensors = {name: np.array(variable.numpy()) for name, variable in variables.items()}
        tensors |= {f"{KEPT}{name}": value for name, value in state.values.items()}
        scratch = self._path.with_suffix(".new")
        save_file(tensors, scratch, {"facts": json.dumps(facts)})
        scratch.replace(self._path)

    def check(self) -> None:
        """Read the file, if it exists, before a model is built and traced.

        Raises:
            ExportError: the file is damaged, or of another training.
        """
        if self._path.is_file():
            with self._open():
                pass

    def load(self, variables: State) -> TrainerState | None:
        """Restore the state of a newly made model; None if there is no file.

        Raises:
            ExportError: the file is damaged, or of another training.
        """
        if not self._path.is_file():
            return None
        with self._open() as (file, facts):
            for name, variable in variables.items():
                variable.assign(file.get_tensor(name))
            kept = [name for name in file.keys() if name.startswith(KEPT)]  # noqa: SIM118 - no dict
            values = {name.removeprefix(KEPT): file.get_tensor(name) for name in kept}
            return TrainerState(**facts, values=values)

    def remove(self) -> None:
        """Remove the file at the end of the training."""
        self._path.unlink(missing_ok=True)

    @contextmanager
    def _open(self) -> Iterator[tuple[Any, dict[str, Any]]]:
        """Yield the open file and its metadata, without the identity of the training."""
        try:
            with safe_open(self._path, "np") as file:
                facts = json.loads(file.metadata()["facts"])
                self._require_same(facts.pop("training"))
                yield file, facts
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise ExportError(f"{self._path}: cannot go on from it ({error})") from error

    def _require_same(self, training: Mapping[str, Any]) -> None:
        for name, value in self._training.items():
            if training.get(name) != value:
                raise ExportError(
                    f"{self._path}: belongs to another training: {name} was"
                    f" {training.get(name)!r}, is {value!r}; --fresh begins again"
                )


def is_due(steps: int, seconds: float) -> bool:
    """Tell whether to write a checkpoint.

    Args:
        steps: of the epoch so far.
        seconds: since the last checkpoint.
    """
    late = seconds >= SECONDS_BETWEEN_CHECKPOINTS and steps % STEPS_BETWEEN_REPORTS == 0
    return late or steps % STEPS_BETWEEN_CHECKPOINTS == 0


def state_of(model: keras.Model, optimizer: keras.Optimizer) -> State:
    """Return all variables that a step changes, named by index, because names may repeat.

    Frozen weights are not included: they equal the initial weights.
    """
    frozen = {id(variable) for variable in model.non_trainable_weights}
    variables = {
        f"model/{place}": variable
        for place, variable in enumerate(model.variables)
        if id(variable) not in frozen
    }
    places = enumerate(optimizer.variables)
    return variables | {f"optimizer/{place}": variable for place, variable in places}
