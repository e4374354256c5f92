"""Check of the Host header of requests to a local server, against DNS rebinding.

Any web page can reach a loopback server by a foreign name that resolves to 127.0.0.1.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

from rnntk.errors import UsageError


class Names:
    """Names of a server that listens on `host`: `host`, loopback names and, beyond loopback, all numeric addresses.

    A server bound to all addresses cannot list them, and numeric addresses cannot be rebound.
    """

    def __init__(self, host: str) -> None:
        self._names = {"127.0.0.1", "::1", "localhost", host.lower()}
        self._any_address = not is_loopback(host)

    def __contains__(self, header: str) -> bool:
        """Whether a request's Host header, `name` or `name:port`, names this server."""
        name, _, port = header.rpartition(":")
        name = (name if port.isdigit() else header).lower().removeprefix("[").removesuffix("]")
        if name in self._names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return self._any_address


def resolve(host: str, port: int | None) -> tuple[socket.AddressFamily, tuple[Any, ...]]:
    """Address family and socket address of a host. Raises `UsageError` if it does not resolve."""
    name = host or "empty.invalid"  # an empty name would mean all addresses
    try:
        family, *_, address = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "too long, or not a name"
        raise UsageError(f"`host` {host!r} is not an address ({reason}).") from error
    return family, address


def is_loopback(host: str) -> bool:
    """Whether a host is a loopback address or `localhost`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
