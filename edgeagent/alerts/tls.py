"""The TLS side of the link to the broker."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from typing import Any

from edgeagent.errors import KeyFileError


class _TidySocket(ssl.SSLSocket):
    """Closes itself when the handshake fails: paho does not, and each retry would leave a socket behind."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise


class _ForHost(ssl.SSLContext):
    """Demands the broker's certificate for its own name, whatever way the bytes take there."""

    host = ""

    def wrap_socket(self, sock: socket.socket, *arguments: Any, **named: Any) -> ssl.SSLSocket:
        """As the original; over a local socket paho would ask for a certificate of the socket's path."""
        return super().wrap_socket(sock, *arguments, **{**named, "server_hostname": self.host})


def tls_context(ca_file: Path, cert_file: Path, key_file: Path, minimum: str, host: str) -> ssl.SSLContext:
    """A client context that demands a certificate from our authority for `host`.

    Raises `KeyFileError` naming the file that cannot be used.
    """
    context = _ForHost(ssl.PROTOCOL_TLS_CLIENT)  # check_hostname and CERT_REQUIRED are its defaults
    context.host = host
    context.sslsocket_class = _TidySocket
    context.minimum_version = ssl.TLSVersion.TLSv1_3 if minimum == "1.3" else ssl.TLSVersion.TLSv1_2
    try:
        context.load_verify_locations(ca_file)
    except OSError as error:
        raise _unusable(ca_file, error) from error
    try:
        context.load_cert_chain(cert_file, key_file, password=_no_password)
    except (OSError, ValueError) as error:
        raise _unusable(cert_file, error, f" (or its key {key_file})") from error
    return context


def _no_password() -> str:
    # Without this OpenSSL would ask on the terminal, and a daemon would hang there for ever.
    return ""


def _unusable(path: Path, error: Exception, rest: str = "") -> KeyFileError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else "not readable"
    return KeyFileError(
        f"cannot be used for TLS ({reason})",
        where=f"{path}{rest}",
        next_step="Check that the PEM files exist, belong together and are readable by this user.",
    )
