"""The server's TLS certificates, reloaded when their files change."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path

import grpc

from semserve_server.errors import ConfigError
from semserve_server.system.file_watch import FileWatch

log = logging.getLogger(__name__)


class Certificates:
    """A certificate chain with its private key, and the CAs of client certificates (mTLS).

    gRPC asks for changes at every new connection. Files that do not match, for example while they
    are being replaced, change nothing and are logged.
    """

    def __init__(self, chain: Path, key: Path, client_ca: Path | None) -> None:
        """Read the files.

        Args:
            chain: PEM with the server's certificate and its intermediate certificates.
            key: PEM with the private key, not encrypted.
            client_ca: PEM with the authorities of client certificates; None if clients need none.

        Raises:
            ConfigError: the files cannot be used.
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
        """Return gRPC credentials for a secure port."""
        return grpc.dynamic_ssl_server_credentials(
            self._first,
            self._renewed,  # type: ignore[arg-type]  # None for no change: gRPC says it, its stubs do not
            require_client_authentication=self._client_ca is not None,
        )

    def _renewed(self) -> grpc.ServerCertificateConfiguration | None:
        """Return changed certificates, or None. gRPC calls this on a separate thread."""
        if not self._file_watch.changed():
            return None
        try:
            renewed = self._read()
        except ValueError as error:
            self._file_watch.reset()
            if self._last_error != str(error):
                self._last_error = str(error)
                log.warning("--tls-certificate: %s; the present certificate stays", error)
            return None
        self._last_error = ""
        log.info("--tls-certificate: %s reloaded", self._chain)
        return renewed

    def _read(self) -> grpc.ServerCertificateConfiguration:
        """Read the files and verify that they match.

        Raises:
            ValueError: they do not match, cannot be read, or change meanwhile.
        """
        try:
            contents = self._contents()
            self._prove()
            if self._contents() != contents:
                raise ValueError("the files changed while they were read")
        except ssl.SSLError as error:
            names = " and ".join(map(str, self._paths))
            raise ValueError(f"{names} are not matching PEM files: {error}") from error
        except OSError as error:
            raise ValueError(f"{error.filename}: {error.strerror}") from error
        chain, key, *client_ca = contents
        return grpc.ssl_server_certificate_configuration(
            [(key, chain)], root_certificates=client_ca[0] if client_ca else None
        )

    def _prove(self) -> None:
        """Let OpenSSL load the files. OpenSSL takes paths, and gRPC takes contents."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._chain, self._key, password=_no_password)
        if self._client_ca is not None:
            context.load_verify_locations(self._client_ca)

    def _contents(self) -> list[bytes]:
        return [path.read_bytes() for path in self._paths]


def _no_password() -> str:
    raise ValueError(
        "the private key is encrypted: store it decrypted, readable only by the server"
    )
