"""The names of a server on this machine.

Every page in a browser on this machine can reach a server on the loopback interface, under a foreign name that points
to 127.0.0.1 (DNS rebinding). So a request must name the server itself.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

from rnntk.errors import UsageError


class Names:
    """The names of a server that listens at `host`: that, those of the loopback interface, and addresses in digits.

    Bound to every address, it cannot know them all; an address in digits cannot be rebound.
    """

    def __init__(self, host: str) -> None:
        self._names = {"127.0.0.1", "::1", "localhost", host.lower()}
        self._any_address = not is_loopback(host)

    def __contains__(self, header: str) -> bool:
        """Whether a request's Host header, `name` or `name:port`, names this server."""
        name, _, port = header.rpartition(":")
        name = (name if port.isdigit() else header).lower()
        name = name.removeprefix("[").removesuffix("]")
        if name in self._names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return self._any_address


def resolve(host: str, port: int | None) -> tuple[socket.AddressFamily, tuple[Any, ...]]:
    """The family and the socket address of a name or an address. Raises `UsageError` if it is neither."""
    try:
        # An empty name would be all addresses of this machine.
        family, *_, address = socket.getaddrinfo(
            host or "empty.invalid", port, type=socket.SOCK_STREAM
        )[0]
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or "too long, or not a name"
        raise UsageError(f"`host` {host!r} is not an address ({why}).") from error
    return family, address


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address; of names only `localhost` counts."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
