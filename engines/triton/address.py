"""Where Triton servers are, and what is asked of them: triton://HOST:PORT/MODEL."""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass

import psutil

from engines.catalog import shipped as catalog
from engines.errors import EngineError

GRPC_PORT = 8001
"""Of gRPC, by Triton's default."""


@dataclass(frozen=True)
class Address:
    """triton://HOST[:PORT][,HOST[:PORT] ...]/MODEL[/VERSION]"""

    servers: tuple[str, ...]
    model: str
    version: str = ""

    def __str__(self) -> str:
        return f"triton://{','.join(self.servers)}/{self.model}" + (f"/{self.version}" if self.version else "")

    @property
    def scale(self) -> int | None:
        """As the model's name has it."""
        return catalog.scale_in(self.model)


def parse(text: str) -> Address:
    """The address that `text` is. Raises EngineError."""
    match = re.fullmatch(r"triton://([^/\s]+)/([^/\s]+)(?:/(\d+))?/?", text)
    servers = match[1].split(",") if match else []
    for server in servers:
        host, port = re.fullmatch(r"(\[[^\]]+\]|[^:]*)(?::(.*))?", server, re.DOTALL).groups() if server else ("", "")  # type: ignore[union-attr]
        if not host or (port is not None and not (port.isdecimal() and 0 < int(port) < 65536)):
            match = None
    if not match:
        raise EngineError(
            f"{text} is no address of a Triton server",
            "it reads triton://HOST:PORT/MODEL, with several servers triton://A:8001,B:8001/MODEL",
            "For example --engine triton://127.0.0.1:8001/fast-x2.",
        )
    ported = [server if re.search(r":\d+$", server) else f"{server}:{GRPC_PORT}" for server in servers]
    return Address(tuple(ported), match[2], match[3] or "")


def is_here(server: str) -> bool:
    """Whether HOST:PORT is this machine."""
    host = server.rpartition(":")[0].strip("[]")
    try:
        found = {info[4][0] for info in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError):  # the second of names that cannot be, as a..b
        return False
    own = {address.address.partition("%")[0] for each in psutil.net_if_addrs().values() for address in each}
    return any(ipaddress.ip_address(str(one).partition("%")[0]).is_loopback or one in own for one in found)
