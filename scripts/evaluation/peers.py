"""Measure the networks that people load into OpenCV's dnn_superres, beside ours.

Only opencv-contrib-python below 5 has that module: OpenCV 5 itself refuses ESPCN's file, and both packages in one
environment overwrite each other. So it gets its own environment, .venv-peers, and each network its own process.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from engines.base import Image
from engines.errors import UserError
from scripts.common.checkout import ROOT

PEER_ENVIRONMENT = ROOT / ".venv-peers"
PEER_PACKAGES = ("opencv-contrib-python-headless>=4.8,<5",)
PEER_TIMEOUT_S = 60.0
"""Seconds that a process may take for one answer, or to start."""
PEER_EXIT_TIMEOUT_S = 10.0
"""Seconds that a process which has closed its pipe may take to say why and to end."""


class PeerError(UserError):
    """A peer is missing or does not run."""


@dataclass(frozen=True)
class PeerFile:
    """A file NAME_x<scale>.pb, a TensorFlow graph."""

    name: str
    scale: int
    path: Path


def find(folder: Path) -> list[PeerFile]:
    """Return the peers in `folder`, sorted by name and scale. Raises PeerError if there is none."""
    found = [
        PeerFile(match[1], int(match[2]), path)
        for path in sorted(folder.glob("*.pb"))
        if (match := re.fullmatch(r"(ESPCN|FSRCNN|LapSRN|EDSR)_x(\d)", path.stem))
    ]
    if not found:
        raise PeerError(
            f"There are no peers in {folder}",
            "looked for files such as FSRCNN_x2.pb and ESPCN_x2.pb",
            "They are at github.com/Saafke/FSRCNN_Tensorflow (models) and github.com/fannymonori/TF-ESPCN (export).",
        )
    return found


def environment() -> Path:
    """Return the Python of .venv-peers, which is set up on first use and after a change of PEER_PACKAGES.

    Raises PeerError.
    """
    python, mark = PEER_ENVIRONMENT / "bin/python", PEER_ENVIRONMENT / "installed"
    wanted = f"{sys.version} {PEER_PACKAGES}"
    if python.exists() and mark.exists() and mark.read_text() == wanted:
        return python
    print(
        f"Installing {', '.join(PEER_PACKAGES)} into {PEER_ENVIRONMENT.name}; this takes a minute the first time.",
        flush=True,
    )
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PEER_PACKAGES]
    for command in ([sys.executable, "-m", "venv", "--clear", str(PEER_ENVIRONMENT)], pip):
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=600)
        except subprocess.SubprocessError as error:
            message = (getattr(error, "stderr", None) or str(error)).strip().splitlines()[-1]
            raise PeerError(f"{PEER_ENVIRONMENT.name} cannot be created", message, "Is the machine online?") from None
    mark.write_text(wanted)
    return python


class Peer:
    """One network in its own process, which `with` ends. For use by one thread."""

    def __init__(self, file: PeerFile, threads: int, *, timeout_s: float = PEER_TIMEOUT_S) -> None:
        """Start it; each answer may take `timeout_s`.

        Raises PeerError if its environment cannot be set up; the first answer shows whether it runs.
        """
        self.file, self._timeout_s = file, timeout_s
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 # closed with the process
        script = [str(Path(__file__).with_name("dnn_superres.py")), str(file.path), file.name.lower(), str(file.scale)]
        self._process = subprocess.Popen(
            [str(environment()), "-I", *script, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: Any) -> None:
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def upscale(self, image: Image) -> Image:
        """Return uint8 [sH, sW, 3] BGR for uint8 [H, W, 3] BGR. Raises PeerError."""
        height, width = image.shape[:2]
        with self._asking(f"upscale {height} {width}", image.tobytes()) as answer:
            height, width = (int(number) for number in answer.readline().split())
            return np.frombuffer(answer.read(height * width * 3), np.uint8).reshape(height, width, 3)

    def frames(self, count: int) -> float:
        """Run the last picture `count` times; return milliseconds a frame, timed in the process."""
        with self._asking(f"time {count}") as answer:
            return float(answer.readline())

    def seconds(self, seconds: float) -> float:
        """Run as many frames as take about `seconds`, as EngineLoop does; return milliseconds a frame."""
        return self.frames(max(3, round(seconds * 1000 / self.frames(1))))

    @contextmanager
    def _asking(self, command: str, more: bytes = b"") -> Iterator[IO[bytes]]:
        """Send `command`; yield the stream that its answer can be read from."""
        assert self._process.stdin and self._process.stdout
        watch = threading.Timer(self._timeout_s, self._process.kill)  # a read from a pipe has no time limit of its own
        watch.start()
        try:
            self._process.stdin.write(f"{command}\n".encode() + more)
            self._process.stdin.flush()
            yield self._process.stdout
        except (OSError, ValueError):  # a pipe that is closed, half an answer
            raise self._failed() from None
        finally:
            watch.cancel()

    def _failed(self) -> PeerError:
        # Its end of the pipe closes before its last words are written: a kill at once would cut them off.
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(PEER_EXIT_TIMEOUT_S)
        self._process.kill()
        self._process.wait()
        self._errors.seek(0)
        messages = self._errors.read().decode(errors="replace").strip().splitlines()
        return PeerError(
            f"{self.file.path} does not run in OpenCV's dnn_superres",
            messages[-1] if messages else f"no answer within {self._timeout_s:g} s",
            f"If {PEER_ENVIRONMENT.name} is damaged, remove it; it is then created again.",
        )
