"""The calls of the blocking client that concern the server and its models."""

from collections.abc import Iterable, Iterator, Mapping

from semserve.calls import health, models
from semserve.calls.health import Health
from semserve.calls.models import ModelInfo, ServerInfo, Tokens
from semserve.connection.options import CLIENT_TIMEOUT, Timeout
from semserve.transport.blocking_transport import BlockingTransport

Metadata = Mapping[str, str | bytes]


class ModelClient(BlockingTransport):
    """The base class of `Client`: calls that concern the server and its models."""

    def models(
        self, *, timeout: Timeout = CLIENT_TIMEOUT, metadata: Metadata | None = None
    ) -> list[ModelInfo]:
        """List all models, sorted by name: loaded, loading, refused and unloaded ones."""
        return self._execute(models.models(), timeout, metadata)

    def model(
        self, name: str = "", *, timeout: Timeout = CLIENT_TIMEOUT, metadata: Metadata | None = None
    ) -> ModelInfo:
        """Describe one model. The name may be omitted if only one model is loaded."""
        return self._execute(models.model(name), timeout, metadata)

    def server_info(
        self, *, timeout: Timeout = CLIENT_TIMEOUT, metadata: Metadata | None = None
    ) -> ServerInfo:
        """Return the server's version, its limits and its default models."""
        return self._execute(models.server_info(), timeout, metadata)

    def load_model(
        self, name: str, *, timeout: Timeout = CLIENT_TIMEOUT, metadata: Metadata | None = None
    ) -> ModelInfo:
        """Load a bundle from the server's disk. Returns when the model serves requests.

        The present model of that name serves requests until then. The server must run with
        `--allow-model-control`.

        Args:
            name: name of a bundle in the server's models directory.
            timeout: seconds to wait. The server continues to load after that.
            metadata: sent with the call; overrides the client's metadata of the same name.

        Raises:
            SemserveError: with the code FAILED_PRECONDITION, if the bundle cannot be loaded.
        """
        return self._execute(models.load_model(name), timeout, metadata)

    def unload_model(
        self, name: str, *, timeout: Timeout = CLIENT_TIMEOUT, metadata: Metadata | None = None
    ) -> None:
        """Unload a model, if the server allows model control."""
        self._execute(models.unload_model(name), timeout, metadata)

    def tokenize(
        self,
        texts: Iterable[str],
        *,
        model: str = "",
        timeout: Timeout = CLIENT_TIMEOUT,
        metadata: Metadata | None = None,
    ) -> list[Tokens]:
        """Return the tokens of texts, without running the model."""
        return self._execute(models.tokenize(texts, model), timeout, metadata)

    def health(
        self,
        service: str = "",
        *,
        timeout: Timeout = CLIENT_TIMEOUT,
        metadata: Metadata | None = None,
    ) -> Health:
        """Return whether the server, or a model by its name, is ready."""
        return self._execute(health.check(service), timeout, metadata)

    def watch(self, service: str = "", *, metadata: Metadata | None = None) -> Iterator[Health]:
        """Yield the health of the server or a model, now and at every change; never ends."""
        return self._watch(service, metadata)
