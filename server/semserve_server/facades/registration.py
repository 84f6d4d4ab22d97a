"""The APIs of other platforms that a configuration turns on, and their services."""

from __future__ import annotations

from dataclasses import dataclass

from semserve_server.registry.registry import ModelRegistry
from semserve_server.rpc.handlers import Handlers, Streams
from semserve_server.services.classification import ClassificationService
from semserve_server.services.embedding import EmbeddingService
from semserve_server.services.model import ModelService
from semserve_server.services.score import ScoreService
from semserve_server.services.validation import Limits

TEI_TASKS: dict[str, frozenset[str]] = {
    "tei.v1.Info": frozenset(),
    "tei.v1.Embed": frozenset(("embedding", "sparse_embedding")),
    "tei.v1.Predict": frozenset(("classification", "score")),
    "tei.v1.Rerank": frozenset(("score",)),
    "tei.v1.Tokenize": frozenset(),
}
"""The services of text-embeddings-inference, and the tasks of which each needs a loaded model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facades:
    """Which APIs of other platforms are served."""

    open_inference: bool = False
    text_embeddings_inference: bool = False
    openai_embeddings: bool = False

    @property
    def health(self) -> dict[str, frozenset[str]]:
        """The services that report their health, and the tasks of which each needs a model."""
        return TEI_TASKS if self.text_embeddings_inference else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The services of `semserve.v1` that the facades call."""

    models: ModelRegistry
    limits: Limits
    embedding: EmbeddingService
    classification: ClassificationService
    score: ScoreService
    model: ModelService


def facade_handlers(facades: Facades, services: Services, streams: Streams) -> dict[str, Handlers]:
    """Create the services that are turned on. Returns the handlers of each by its full name."""
    handlers: dict[str, Handlers] = {}
    if facades.open_inference:
        handlers |= _open_inference(services, streams)
    if facades.text_embeddings_inference:
        handlers |= _text_embeddings_inference(services, streams)
    if facades.openai_embeddings:
        from semserve_server.facades.openai_embeddings import OpenAIEmbeddings  # noqa: PLC0415

        facade = OpenAIEmbeddings(services.limits, services.embedding)
        handlers[facade.name] = facade.handlers()
    return handlers


# Imported only where they are turned on, because their messages have the same names as those of
# other packages.


def _open_inference(services: Services, streams: Streams) -> dict[str, Handlers]:
    from semserve_server.facades.model_infer import ModelInfer  # noqa: PLC0415
    from semserve_server.facades.open_inference import OpenInferenceService  # noqa: PLC0415

    infer = ModelInfer(
        services.limits,
        embedding=services.embedding,
        classification=services.classification,
        score=services.score,
    )
    facade = OpenInferenceService(services.models, services.limits, infer, services.model)
    return {facade.name: facade.handlers(streams)}


def _text_embeddings_inference(services: Services, streams: Streams) -> dict[str, Handlers]:
    from semserve_server.facades.tei_embed import EmbedFacade  # noqa: PLC0415
    from semserve_server.facades.tei_predict import PredictFacade, RerankFacade  # noqa: PLC0415
    from semserve_server.facades.tei_tokenize import InfoFacade, TokenizeFacade  # noqa: PLC0415

    models, limits = services.models, services.limits
    return {
        InfoFacade.name: InfoFacade(models, limits).handlers(),
        EmbedFacade.name: EmbedFacade(models, services.embedding).handlers(streams),
        PredictFacade.name: PredictFacade(models, limits).handlers(streams),
        RerankFacade.name: RerankFacade(models, limits).handlers(streams),
        TokenizeFacade.name: TokenizeFacade(models, limits).handlers(streams),
    }
