"""What is asked of an engine: one frozen object, which can also be sent to another process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Literal

Memory = Literal["auto", "copy", "mapped"]
Transport = Literal["auto", "shm", "cuda", "raw", "jpeg"]

ENGINE_NAMES = ("tensorrt", "openvino", "triton", "bicubic")
"""All engines, in the order in which `auto` tries them; it leaves out triton, which needs an address."""


class EngineKind(str, Enum):
    """The backends, and `auto`, which stands for the best one that this machine has."""

    AUTO = "auto"
    TENSORRT = "tensorrt"
    OPENVINO = "openvino"
    TRITON = "triton"
    BICUBIC = "bicubic"

    @classmethod
    def of(cls, name: str) -> EngineKind:
        """Return the kind of the engine called `name`, which may be an address such as triton://HOST:PORT/MODEL.

        Raises:
            ValueError: There is no engine of that name.
        """
        return cls(name.partition("://")[0])

    @property
    def is_remote(self) -> bool:
        """Whether the engine is a server, with processes and models of its own."""
        return self is EngineKind.TRITON

    @property
    def reads_model_file(self) -> bool:
        """Whether the engine reads a model's .onnx file on this machine."""
        return self not in (EngineKind.TRITON, EngineKind.BICUBIC)


@dataclass(frozen=True)
class TensorRtOptions:
    """What only TensorRT understands."""

    memory: Memory = "auto"
    """How frames reach the GPU: copied, or read where they are; auto: mapped where GPU and CPU share their memory."""
    dla: int | None = None
    """The number of the DLA core to run on, where the board has one."""
    profile: bool = False
    """Write the time of every layer to the log once the engine is loaded."""


@dataclass(frozen=True)
class OpenVinoOptions:
    """What only OpenVINO understands."""

    threads: int | None = None
    """Processor threads; None: all."""


@dataclass(frozen=True)
class TritonOptions:
    """How to talk to Triton servers."""

    transport: Transport = "auto"
    """How pictures travel; auto: shm on the same host, else jpeg where it is served, else raw."""
    quality: int = 90
    """Quality of the JPEG files that are sent, 1 to 100."""
    tls: bool = False
    """Encrypt, and check the server's certificate."""
    tls_ca: Path | None = None
    """PEM file of whoever signs the server's certificate; None: the system's."""
    tls_certificate: Path | None = None
    """PEM file of the client's certificate, for mutual TLS."""
    tls_key: Path | None = None
    """PEM file of its key, without a passphrase."""
    token_file: Path | None = None
    """File with a token that is sent with every request."""
    token_header: str = "authorization"
    """The header that the token is sent in."""
    timeout: float = 2.0
    """Seconds to wait for a connection."""


@dataclass(frozen=True)
class EngineRequest:
    """An engine as somebody wants it; engines.load() makes it."""

    name: str
    """One of ENGINE_NAMES, `auto`, or triton://HOST:PORT/MODEL."""
    model: str
    """A shipped model's name or the path of an .onnx file. Bicubic takes only the scale from it, Triton nothing."""
    size: tuple[int, int]
    """Width and height of the input in pixels."""
    scale: int | None = None
    """How many times larger the network makes it; None: that of the model's name, else the smallest that exists."""
    output: tuple[int, int] | None = None
    """Width and height of the output in pixels, whatever the network makes; None: what the network makes."""
    depth: int = 2
    """Frames in flight, at least 1; each more than 2 adds one engine time of latency."""
    frame_timeout: float = 0.25
    """Seconds that a server or an isolated engine may take for a frame before its fallback makes it."""
    fallback: tuple[str, ...] = ()
    """Engines of this machine that go on when the first fails: a server's, an isolated or a governed engine's.

    Without one a server has no replacement, and its failure ends the run.
    """
    start: Literal["strict", "standby"] = "strict"
    """Of a server with a fallback that is away at the start: strict: an error; standby: the fallback begins."""
    exclude: tuple[str, ...] = ()
    """Engines that are not to be taken, as they have failed before."""
    isolate: bool = False
    """Run the engine in a process of its own, with bicubic in its place while that is away."""
    ladder: tuple[str, ...] | None = None
    """Models to switch between while running, empty for all shipped ones like `model`; None: no switching."""
    tensorrt: TensorRtOptions = field(default_factory=TensorRtOptions)
    openvino: OpenVinoOptions = field(default_factory=OpenVinoOptions)
    triton: TritonOptions = field(default_factory=TritonOptions)

    @property
    def kind(self) -> EngineKind:
        """The kind of the engine that `name` names.

        Raises:
            ValueError: There is no engine of that name.
        """
        return EngineKind.of(self.name)

    def as_dict(self) -> dict[str, Any]:
        """Return what from_dict() makes an equal request of, ready for JSON."""
        values = asdict(self)
        values["triton"] = {key: str(v) if isinstance(v, Path) else v for key, v in values["triton"].items()}
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> EngineRequest:
        """Return the request that as_dict() was called on."""
        triton = dict(values["triton"])
        for key in ("tls_ca", "tls_certificate", "tls_key", "token_file"):
            triton[key] = Path(triton[key]) if triton[key] is not None else None
        tuples = {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
        return cls(
            **{
                **values,
                **tuples,
                "tensorrt": TensorRtOptions(**values["tensorrt"]),
                "openvino": OpenVinoOptions(**values["openvino"]),
                "triton": TritonOptions(**triton),
            }
        )
