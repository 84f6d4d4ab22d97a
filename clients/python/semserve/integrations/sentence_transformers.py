"""`SentenceEncoder`, for code that calls `encode()` of sentence-transformers."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semserve import Client


class SentenceEncoder:
    """Embeds texts with a semserve server by the call `encode`. It needs no further library."""

    def __init__(self, client: Client, *, model: str = "") -> None:
        """Use a client.

        Args:
            client: the client; the caller closes it.
            model: name of an embedding model; may be left out as for `Client.embed`.
        """
        self._client = client
        self._model = model

    def encode(
        self,
        sentences: str | Sequence[str],
        *,
        prompt_name: str | None = None,
        normalize_embeddings: bool = False,
        truncate_dim: int | None = None,
        **others: Any,
    ) -> NDArray[np.float32]:
        """Convert texts to vectors.

        Args:
            sentences: the texts, or one text.
            prompt_name: the model's prompt before each text; by default the model's default prompt.
            normalize_embeddings: whether to scale vectors to unit length. Without it they are as
                the model gives them, which is unit length for many models.
            truncate_dim: keep only the first so many dimensions.
            others: `batch_size` and `show_progress_bar`, which do not change the vectors, and
                other arguments of sentence-transformers with their default values.

        Returns:
            float32 (texts, dimensions), or (dimensions,) for one text.

        Raises:
            TypeError: an argument cannot be honoured; the message names it.
            SemserveError: as `Client.embed`.
        """
        _refuse(others)
        single = isinstance(sentences, str)
        vectors = self._client.embed(
            [sentences] if isinstance(sentences, str) else sentences,
            model=self._model,
            normalize=True if normalize_embeddings else None,
            dimensions=truncate_dim,
            prompt_name=prompt_name,
        ).vectors
        return vectors[0] if single else vectors


# The values of arguments of sentence-transformers that say what `encode` does here anyway.
_HONOURED: dict[str, tuple[Any, ...]] = {
    "prompt": (None,),
    "show_progress_bar": (None, False),
    "output_value": ("sentence_embedding",),
    "precision": ("float32",),
    "convert_to_numpy": (True,),
    "convert_to_tensor": (False,),
    "device": (None,),
}


def _refuse(others: dict[str, Any]) -> None:
    """Refuse arguments that would have an effect in sentence-transformers, and have none here.

    Raises:
        TypeError: there is one.
    """
    for name, value in others.items():
        if name == "batch_size":  # the client and the server form batches
            continue
        if name not in _HONOURED:
            raise TypeError(f"{name}: encode() has no such argument")
        if value not in _HONOURED[name]:
            accepted = " or ".join(map(repr, _HONOURED[name]))
            raise TypeError(
                f"{name}: {value!r} cannot be honoured: leave it out, or pass {accepted}"
            )
