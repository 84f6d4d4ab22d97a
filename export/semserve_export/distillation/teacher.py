"""A teacher: an exported classifier of pairs, whose answers another model learns from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from rich.progress import Progress
from tokenizers import Tokenizer

from semserve_export.bundle.layout import TOKENIZER, read_manifest
from semserve_export.bundle.tolerance import Run, onnx_run
from semserve_export.data.batching import EncodedPairs
from semserve_export.data.pairs import Pair
from semserve_export.distillation.answer_cache import AnswerCache
from semserve_export.errors import ExportError
from semserve_export.model_spec import HYPOTHESIS_FIRST, PairTruncation

BATCH_SIZE = 16  # a CPU gains nothing from more, and pads less in fewer
CHUNK = 8192  # pairs that are answered, and kept, together: a quarter of a minute's work

Logits = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Teacher:
    """One of a bundle's graphs and its tokenizer; it need not be of the learner's kind."""

    manifest: Mapping[str, Any]
    variant: str
    tokenizer: Tokenizer
    run: Run

    @classmethod
    def read(
        cls, bundle: Path, labels: Sequence[str], variant: str = "portable", *, pair: bool = True
    ) -> Self:
        """Load a bundle whose digests hold.

        Args:
            bundle: its directory.
            labels: the labels that it must have, in this order.
            variant: which of its graphs answers.
            pair: whether it must take pairs, or single texts.

        Raises:
            BundleError: the directory holds no whole bundle.
            ExportError: it is no classifier of such texts with these labels in this order, or
                lacks the variant.
        """
        manifest = read_manifest(bundle)
        if manifest["pair"] != pair or manifest["labels"] != list(labels):
            texts = "pairs" if pair else "single texts"
            raise ExportError(
                f"{bundle}: does not label {texts} {', '.join(labels)}, in this order"
            )
        if variant not in manifest["variants"]:
            there = ", ".join(manifest["variants"])
            raise ExportError(f"{bundle}: no variant {variant!r}; there are {there}")
        tokenizer = Tokenizer.from_file(str(bundle / TOKENIZER))
        graph = bundle / manifest["variants"][variant]["file"]
        return cls(manifest, variant, tokenizer, onnx_run(graph))

    @property
    def facts(self) -> dict[str, Any]:
        """Return what an adapter's record says of who taught it."""
        return {
            "model": self.manifest["model"],
            "weights": self.manifest["weights"]["source"],
            "variant": self.variant,
        }

    def answer(
        self, pairs: Sequence[Pair], max_tokens: int, cache: AnswerCache, progress: Progress
    ) -> Logits:
        """Return the logits of pairs, fp32 [pairs, labels]; they are cut to `max_tokens`.

        What the cache knows is not asked again, so that the next training begins at once.
        """
        task = progress.add_task(f"asking {self.manifest['model']}", total=len(pairs))
        parts = [np.zeros((0, len(self.manifest["labels"])), np.float32)]
        for start in range(0, len(pairs), CHUNK):
            chunk = pairs[start : start + CHUNK]
            key = [*self._identity(), max_tokens, *((p.premise, p.hypothesis) for p in chunk)]
            logits = cache.load(key)
            if logits is None:
                logits = self.ask(chunk, max_tokens)
                cache.save(key, logits)
            parts.append(logits)
            progress.advance(task, len(chunk))
        progress.remove_task(task)
        return np.concatenate(parts)

    def ask(self, pairs: Sequence[Pair], max_tokens: int) -> Logits:
        """Return the logits of pairs, fp32 [pairs, labels]; nothing is kept."""
        if self._hypothesis_first:
            pairs = [Pair(pair.hypothesis, pair.premise) for pair in pairs]
        cut: PairTruncation = self.manifest.get("pair_truncation") or "longest_first"
        encoded = EncodedPairs.of(self.tokenizer, pairs, max_tokens, pair_truncation=cut)
        logits = np.zeros((len(pairs), len(self.manifest["labels"])), np.float32)
        for rows in encoded.by_length(BATCH_SIZE):
            logits[rows] = self.run(encoded.inputs(rows))
        return logits

    def _identity(self) -> list[str]:
        """Tell what the answers depend on, beside the pairs."""
        files = self.manifest["files"]
        graph = self.manifest["variants"][self.variant]["file"]
        order = ["hypothesis first"] if self._hypothesis_first else []
        cut = filter(None, [self.manifest.get("pair_truncation")])
        return [files[graph]["sha256"], files[TOKENIZER]["sha256"], *order, *cut]

    @property
    def _hypothesis_first(self) -> bool:
        return self.manifest.get("text_order") == list(HYPOTHESIS_FIRST)
