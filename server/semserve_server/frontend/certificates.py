"""The server's certificates for TLS, read again when their files change."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path

import grpc

from semserve_server.errors import ConfigError
from semserve_server.system.file_watch import FileWatch

log = logging.getLogger(__name__)


class Certificates:
    """A certificate chain with its private key, and where clients need certificates, their CAs.

    gRPC asks at every new connection whether there are others. Files that do not belong together,
    as while they are being written, change nothing but the log.
    """

    def __init__(self, chain: Path, key: Path, client_ca: Path | None) -> None:
        """Read the files.

        Args:
            chain: PEM of the server's certificate and those between it and a known authority.
            key: PEM of its private key, not encrypted.
            client_ca: PEM of the authorities whose clients may connect; None for anybody's.

        Raises:
            ConfigError: they cannot be used.
        """
        self._chain, self._key, self._client_ca = chain, key, client_ca
        self._paths = (chain, key, *([client_ca] if client_ca else []))
        self._file_watch = FileWatch(*self._paths)
        self._last_error = ""
        self._file_watch.changed()
        try:
            self._first = self._read()
        except ValueError as error:
            raise ConfigError(f"--tls-certificate, --tls-key: {error}") from error

    def credentials(self) -> grpc.ServerCredentials:
        """Return what opens a port with them."""
        return grpc.dynamic_ssl_server_credentials(
            self._first,
            self._renewed,  # type: ignore[arg-type]  # None for no change: gRPC says it, its stubs do not
            require_client_authentication=self._client_ca is not None,
        )

    def _renewed(self) -> grpc.ServerCertificateConfiguration | None:
        """Return the certificates if they are others; called by gRPC on a thread of its own."""
        if not self._file_watch.changed():
            return None
        try:
            renewed = self._read()
        except ValueError as error:
            self._file_watch.reset()
            if self._last_error != str(error):
                self._last_error = str(error)
                log.warning("--tls-certificate: %s; the former certificate stays", error)
            return None
        self._last_error = ""
        log.info("--tls-certificate: %s read again", self._chain)
        return renewed

    def _read(self) -> grpc.ServerCertificateConfiguration:
        """Read the files and prove that they belong together.

        Raises:
            ValueError: they do not, cannot be read, or change meanwhile.
        """
        try:
            contents = self._contents()
            self._prove()
            if self._contents() != contents:
                raise ValueError("the files change while they are read")
        except ssl.SSLError as error:
            names = " and ".join(map(str, self._paths))
            raise ValueError(f"{names} are not PEM that belongs together: {error}") from error
        except OSError as error:
            raise ValueError(f"{error.filename}: {error.strerror}") from error
        chain, key, *client_ca = contents
        return grpc.ssl_server_certificate_configuration(
            [(key, chain)], root_certificates=client_ca[0] if client_ca else None
        )

    def _prove(self) -> None:
        """Let OpenSSL read the files; it takes paths, where gRPC takes what is in them."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._chain, self._key, password=_no_password)
        if self._client_ca is not None:
            context.load_verify_locations(self._client_ca)

    def _contents(self) -> list[bytes]:
        return [path.read_bytes() for path in self._paths]


def _no_password() -> str:
    raise ValueError(
        "the private key is encrypted: store it decrypted, readable by the server alone"
    )
