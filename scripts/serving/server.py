"""A real Triton server on 127.0.0.1, to be stopped, killed, frozen and started again on the same ports."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from engines.errors import UserError
from scripts.common.checkout import ROOT

SERVER_SCRIPT = ROOT / "scripts" / "triton_server.sh"
PARENT_DEATH_COMMAND = ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []
"""So that the server ends with the program that started it, however that ends."""


class ServerError(UserError):
    """A server that is to be measured does not run."""


def free_ports(count: int) -> list[int]:
    """Return `count` ports of 127.0.0.1 that nothing listens on at the moment."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [listener.getsockname()[1] for listener in sockets]
    finally:
        for listener in sockets:
            listener.close()


class TritonServer:
    """A server that is ready within `with TritonServer(repository) as server:` and has ended after it."""

    def __init__(self, repository: Path, *options: str) -> None:
        self._repository, self._options = repository, options
        self.grpc, self.http, self.metrics = free_ports(3)
        self.log = repository.parent / f"triton-{self.grpc}.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Host and port of its gRPC service."""
        return f"127.0.0.1:{self.grpc}"

    def start(self, limit: float = 60.0) -> None:
        """Start the server and return when all its models are ready. Raises ServerError."""
        ports = [f"--{name}-port={getattr(self, name)}" for name in ("grpc", "http", "metrics")]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*PARENT_DEATH_COMMAND, str(SERVER_SCRIPT), "run", str(self._repository), *ports, *self._options],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until = time.monotonic() + limit
        while not self.ready():
            if self._process.poll() is not None or time.monotonic() > until:
                self.stop()
                log_end = self.log.read_text(encoding="utf-8", errors="replace")[-2000:]
                raise ServerError(
                    "The Triton server has not started", log_end, "scripts/triton_server.sh setup, first."
                )
            time.sleep(0.05)

    def ready(self) -> bool:
        """Tell whether all its models are ready."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http}/v2/health/ready", timeout=1) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def signal(self, number: int) -> None:
        """Send a signal to the server and its backends."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def kill(self) -> None:
        """End it as a crash or a power cut would."""
        self.signal(signal.SIGKILL)
        assert self._process is not None
        self._process.wait(10)

    def stop(self) -> None:
        """End it in an orderly way, if it runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(15)
            self.kill()

    def __enter__(self) -> TritonServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def shared_names() -> set[str]:
    """Return the names of our shared memory regions."""
    return {path.name for path in Path("/dev/shm").glob("livesr-*")}


def known_regions(server: TritonServer) -> set[str]:
    """Return the regions that the server has mapped."""
    from tritonclient import grpc

    with grpc.InferenceServerClient(server.address) as client:
        return set(client.get_system_shared_memory_status().regions)


def until(condition: Callable[[], bool], limit: float = 20.0) -> None:
    """Wait for `condition()` to hold."""
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, "the condition never became true"
        time.sleep(0.02)
