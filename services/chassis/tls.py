"""TLS: whom a connection trusts, and by which certificate it makes itself known.

The one rule it protects: where TLS is asked for, nothing goes out in clear, however the other side answers.
"""

import ssl
from dataclasses import dataclass
from pathlib import Path

from services.chassis.logs import OperatorError


class TlsError(OperatorError):
    """A certificate or key cannot be used; names the file."""


@dataclass(frozen=True, slots=True)
class Served:
    """Files in PEM by which we serve, and where only known callers are served, the authority that knows them."""

    certificate: Path
    key: Path
    client_ca: Path | None = None


@dataclass(frozen=True, slots=True)
class Tls:
    """Files in PEM: the authority that is trusted alone, and for mutual TLS our own certificate and its key."""

    ca: Path
    certificate: Path | None = None
    key: Path | None = None

    def client(self) -> ssl.SSLContext:
        """For a connection to somebody, whose name must be in a certificate of that authority. Raises TlsError."""
        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # asks for certificate and name
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.load_verify_locations(self.ca)
            if self.certificate is not None:
                context.load_cert_chain(self.certificate, self.key)
        except (OSError, ssl.SSLError) as error:
            named = f"{self.ca}, {self.certificate} or {self.key}" if self.certificate else str(self.ca)
            raise TlsError(f"{named} cannot be used for TLS ({type(error).__name__}): a PEM file is wanted.") from None
        return context
