"""A teacher: an exported classifier of pairs, whose answers another model learns from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from rich.progress import Progress
from tokenizers import Tokenizer

from semserve_export.bundle import GRAPH, TOKENIZER, read_manifest
from semserve_export.errors import ExportError
from semserve_export.fidelity import Run, onnx_run
from semserve_export.pair_batches import EncodedPairs
from semserve_export.pairs import LabelledPair

BATCH_SIZE = 16  # a CPU gains nothing from more, and pads less in fewer


@dataclass(frozen=True, slots=True)
class Teacher:
    """A bundle's portable graph and its tokenizer; it need not be of the learner's kind."""

    manifest: Mapping[str, Any]
    tokenizer: Tokenizer
    run: Run

    @classmethod
    def read(cls, bundle: Path, labels: Sequence[str]) -> Self:
        """Load a bundle whose digests hold.

        Raises:
            BundleError: the directory holds no whole bundle.
            ExportError: it is no classifier of pairs with these labels in this order.
        """
        manifest = read_manifest(bundle)
        if not manifest["pair"] or manifest["labels"] != list(labels):
            raise ExportError(f"{bundle}: does not label pairs {', '.join(labels)}, in this order")
        tokenizer = Tokenizer.from_file(str(bundle / TOKENIZER))
        return cls(manifest, tokenizer, onnx_run(bundle / GRAPH))

    @property
    def facts(self) -> dict[str, Any]:
        """Return what an adapter's record says of who taught it."""
        return {"model": self.manifest["model"], "weights": self.manifest["weights"]["source"]}

    def answer(
        self, pairs: Sequence[LabelledPair], max_tokens: int, progress: Progress
    ) -> npt.NDArray[np.float32]:
        """Return the logits of pairs, fp32 [pairs, labels]; they are cut to `max_tokens`."""
        encoded = EncodedPairs.of(self.tokenizer, pairs, max_tokens)
        logits = np.zeros((len(pairs), len(self.manifest["labels"])), np.float32)
        batches = encoded.by_length(BATCH_SIZE)
        task = progress.add_task(f"asking {self.manifest['model']}", total=len(batches))
        for rows in batches:
            logits[rows] = self.run(encoded.inputs(rows))
            progress.advance(task)
        progress.remove_task(task)
        return logits
