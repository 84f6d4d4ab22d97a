"""The calls of the blocking client that ask about the server and its models."""

from collections.abc import Iterable, Iterator, Mapping

from semserve.calls import health, models
from semserve.calls.health import Health
from semserve.calls.models import ModelInfo, ServerInfo, Tokens
from semserve.connection.options import CLIENT_TIMEOUT, Timeout
from semserve.transport.blocking_transport import BlockingTransport

Metadata = Mapping[str, str | bytes]


class ModelClient(BlockingTransport):
    """What `Client` asks about the server and its models."""

    def models(
        self, *, timeout: Timeout = CLIENT_TIMEOUT, metadata: Metadata | None = None
    ) -> list[ModelInfo]:
        """List the models, sorted by name: those that are loaded, loading, refused and unloaded."""
        return self._execute(models.models(), timeout, metadata)

    def model(
        self, name: str = "", *, timeout: Timeout = CLIENT_TIMEOUT, metadata: Metadata | None = None
    ) -> ModelInfo:
        """Describe one model; the name may be left out where only one is loaded."""
        return self._execute(models.model(name), timeout, metadata)

    def server_info(
        self, *, timeout: Timeout = CLIENT_TIMEOUT, metadata: Metadata | None = None
    ) -> ServerInfo:
        """Ask for the server's version, its limits and its default models."""
        return self._execute(models.server_info(), timeout, metadata)

    def load_model(
        self, name: str, *, timeout: Timeout = CLIENT_TIMEOUT, metadata: Metadata | None = None
    ) -> ModelInfo:
        """Have a bundle served as it is on the server's disk now; returns when it is warm.

        What was served under that name serves until then. The server must allow it, with
        `--allow-model-control`.

        Args:
            name: of a bundle in the server's models directory.
            timeout: seconds to wait. The server goes on loading after that.
            metadata: sent along; of a name that the client has too, this value is sent.

        Raises:
            SemserveError: with the code FAILED_PRECONDITION, the bundle cannot be served.
        """
        return self._execute(models.load_model(name), timeout, metadata)

    def unload_model(
        self, name: str, *, timeout: Timeout = CLIENT_TIMEOUT, metadata: Metadata | None = None
    ) -> None:
        """Have a model served no longer, where the server allows it."""
        self._execute(models.unload_model(name), timeout, metadata)

    def tokenize(
        self,
        texts: Iterable[str],
        *,
        model: str = "",
        timeout: Timeout = CLIENT_TIMEOUT,
        metadata: Metadata | None = None,
    ) -> list[Tokens]:
        """Show how a model's tokenizer reads texts, without running the model."""
        return self._execute(models.tokenize(texts, model), timeout, metadata)

    def health(
        self,
        service: str = "",
        *,
        timeout: Timeout = CLIENT_TIMEOUT,
        metadata: Metadata | None = None,
    ) -> Health:
        """Ask whether the server, or one model by its name, is ready."""
        return self._execute(health.check(service), timeout, metadata)

    def watch(self, service: str = "", *, metadata: Metadata | None = None) -> Iterator[Health]:
        """Yield whether the server or a model is ready, now and at every change; never ends."""
        return self._watch(service, metadata)
