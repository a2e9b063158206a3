"""Where Triton servers are, and what is asked of them: triton://HOST:PORT/MODEL."""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass

import psutil

from engines.errors import EngineError

GRPC_PORT = 8001
"""Triton's default for gRPC."""


@dataclass(frozen=True)
class Address:
    """What triton://HOST[:PORT][,HOST[:PORT] ...]/MODEL[/VERSION] names."""

    servers: tuple[str, ...]
    """Each as HOST:PORT."""
    model: str
    """Its name on the servers."""
    version: str = ""
    """A number; empty for the newest."""

    def __str__(self) -> str:
        return f"triton://{','.join(self.servers)}/{self.model}" + (f"/{self.version}" if self.version else "")


def parse(text: str) -> Address:
    """Return the address that `text`, triton://HOST:PORT/MODEL, is. Raises EngineError."""
    match = re.fullmatch(r"triton://([^/\s]+)/([^/\s]+)(?:/(\d+))?/?", text)
    servers = match[1].split(",") if match else []
    for server in servers:
        host, port = re.fullmatch(r"(\[[^\]]+\]|[^:]*)(?::(.*))?", server, re.DOTALL).groups() if server else ("", "")  # type: ignore[union-attr]
        if not host or (port is not None and not (port.isdecimal() and 0 < int(port) < 65536)):
            match = None
    if not match:
        raise EngineError(
            f"{text} is not the address of a Triton server",
            "it reads triton://HOST:PORT/MODEL, with several servers triton://A:8001,B:8001/MODEL",
            "For example --engine triton://127.0.0.1:8001/fast-x2.",
        )
    ported = [server if re.search(r":\d+$", server) else f"{server}:{GRPC_PORT}" for server in servers]
    return Address(tuple(ported), match[2], match[3] or "")


def is_this_machine(server: str) -> bool:
    """Return whether `server`, HOST:PORT, is this machine."""
    host = server.rpartition(":")[0].strip("[]")
    try:
        found = {info[4][0] for info in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError):  # the second of names that cannot be, as a..b
        return False
    local = {address.address.partition("%")[0] for each in psutil.net_if_addrs().values() for address in each}
    return any(ipaddress.ip_address(str(ip).partition("%")[0]).is_loopback or ip in local for ip in found)
