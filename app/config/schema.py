"""One frozen, validated configuration: what can be set, and what it may be."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BeforeValidator, field_validator, model_validator

from app.config.fields import Section, option
from app.config.notation import Camera, File, NameOrFile, Names, Size, Text, parse_engine, parse_fallback
from engines.catalog import shipped as catalog
from engines.catalog.contract import MAX_SCALE


class InputConfig(Section):
    """Where frames come from. Neither a camera nor a source: the first camera there is, else the demo."""

    camera: Camera | None = option(None, "camera: an index or a path such as /dev/v4l/by-id/...", metavar="N|PATH")
    source: Text | None = option(
        None,
        "video file, folder or glob of pictures, rtsp://, http://, udp://, csi:N, gst:PIPELINE, demo",
        metavar="URI",
    )
    size: Size | None = option(None, "size to ask of the camera, or of the demo, such as 640x360", metavar="WxH")
    fps: float | None = option(None, "rate to ask of the camera, or of demo and pictures", metavar="N", gt=0, le=1000)
    loop: bool = option(False, "begin a file again at its end")
    pace: Literal["auto", "live", "source", "fast"] = option(
        "auto",
        "live: drop what comes too late; source: at the file's own rate, losing nothing; "
        "fast: as fast as possible, losing nothing; "
        "auto: live for cameras, live streams and the demo, else source in a window, fast without",
    )

    @model_validator(mode="after")
    def _one_input(self) -> InputConfig:
        if self.camera is not None and self.source is not None:
            raise ValueError("give a camera or a source, not both")
        return self


class EngineConfig(Section):
    """What upscales them."""

    name: Annotated[str, BeforeValidator(parse_engine)] = option(
        "auto", "auto, tensorrt, openvino, bicubic or triton://HOST:PORT/MODEL", flag="engine", metavar="NAME"
    )
    model: NameOrFile = option(
        "auto",
        "a shipped model (see --list), an .onnx file, or auto: for cameras and live streams fast-webcam, which removes "
        "noise and blocks; for files fast, which is true to the picture",
        metavar="NAME|FILE",
    )
    scale: int | None = option(
        None,
        "how many times larger; by default what the model's name tells, such as fast-x4, else 2",
        ge=1,
        le=MAX_SCALE,
        metavar="N",
    )
    depth: int = option(
        2, "frames in flight; each more than 2 adds one engine time of latency", ge=1, le=8, metavar="N"
    )
    threads: int | None = option(None, "processor threads for the engine; all by default", ge=1, le=1024, metavar="N")
    memory: Literal["auto", "copy", "mapped"] = option(
        "auto",
        "TensorRT: copy frames to the GPU, or let it read them where they are; auto: mapped where GPU and processor "
        "share memory, as on a Jetson",
    )
    dla: int | None = option(None, "TensorRT: run on this DLA core where the board has one", ge=0, le=7, metavar="N")
    profile: bool = option(False, "TensorRT: write the time of every layer to the log at the start")
    isolate: bool = option(
        False, "run it in a process of its own; while that is away the picture goes on, bicubic, and says so"
    )
    fallback: Annotated[tuple[str, ...], BeforeValidator(parse_fallback)] = option(
        ("bicubic",),
        "what goes on when a server is late or away, and what an isolated engine that has failed often gives way to: "
        "engines of this machine, such as openvino,bicubic; none: a run without its server fails",
        metavar="NAMES",
    )
    patience: float = option(
        250.0,
        "milliseconds that a server or an isolated engine may take for a frame before the fallback makes it",
        ge=10,
        le=60000,
        metavar="MS",
    )
    start: Literal["strict", "standby"] = option(
        "strict",
        "strict: a server that is away at the start ends the program; standby: the picture begins with the fallback",
        flag="engine-start",
    )

    @property
    def reads_model(self) -> bool:
        """Whether one is asked for that reads a model's file here."""
        return not {self.name.partition("://")[0], *self.fallback} <= {"triton", "bicubic"}

    @model_validator(mode="after")
    def _one_scale(self) -> EngineConfig:
        told = catalog.scale_in(self.model)
        if self.scale and told and told != self.scale:
            raise ValueError(f"{self.model} enlarges {told} times and scale is {self.scale}; leave one of them out")
        return self


class GovernorConfig(Section):
    """Steps between models of a family so that the rate is kept."""

    enabled: bool = option(
        False,
        "use a smaller model while the machine is busy or above telemetry.warn_temperature, a larger one while there "
        "is time for it",
        flag="governor",
    )
    models: Names = option(
        (),
        "the models to step between, such as balanced,fast,bicubic; by default all shipped ones like engine.model, "
        "of its scale",
        flag="governor-models",
        metavar="NAMES",
    )
    fps: float | None = option(
        None, "the rate to keep; by default the source's", flag="governor-fps", metavar="N", gt=0, le=1000
    )


class TritonConfig(Section):
    """How to talk to --engine triton://HOST:PORT/MODEL."""

    transport: Literal["auto", "shm", "cuda", "raw", "jpeg"] = option(
        "auto",
        "how pictures travel: shm, cuda: memory shared with a server on this machine; raw; jpeg: encoded, lossy; "
        "auto: shm on this machine, or raw where that fails; to another jpeg where it is served, else raw",
    )
    quality: int = option(90, "of JPEG files sent, 1 to 100", flag="jpeg-quality", ge=1, le=100, metavar="N")
    tls: bool = option(False, "encrypt, and check the server's certificate")
    tls_ca: File | None = option(
        None, "who signs the server's certificate, if not the system's", flag="tls-ca", metavar="FILE.pem"
    )
    tls_certificate: File | None = option(
        None, "this camera's own certificate, for mutual TLS", flag="tls-certificate", metavar="FILE.pem"
    )
    tls_key: File | None = option(None, "and its key", flag="tls-key", metavar="FILE.pem")
    token_file: File | None = option(
        None,
        "a file with a token that is sent with every request, in the clear without TLS",
        flag="token-file",
        metavar="FILE",
    )
    token_header: str = option(
        "authorization",
        "the header it is sent in; authorization, as Bearer TOKEN, is for a proxy before Triton, which itself looks at "
        "triton-grpc-protocol-NAME alone, NAME being that of its --grpc-restricted-protocol",
        flag="token-header",
        metavar="NAME",
        pattern="^[a-z0-9_.-]+$",
    )
    timeout: float = option(2.0, "seconds to wait for a connection", flag="connect-timeout", gt=0, le=60, metavar="S")

    @model_validator(mode="after")
    def _both(self) -> TritonConfig:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("mutual TLS needs both tls_certificate and tls_key")
        return self


class OutputConfig(Section):
    """Where they go."""

    headless: bool = option(False, "open no window")
    fullscreen: bool = option(False, "start in full screen")
    isolate: bool = option(
        False,
        "have the window in a process of its own: a display that goes away is waited for instead of ending the program",
        flag="isolate-window",
    )
    view: Literal["upscaled", "compare"] = option("upscaled", "what the window starts with")
    overlay: bool = option(True, "figures on the picture")
    snapshot: File | None = option(None, "write a before/after picture of the beginning", metavar="FILE.png")


class RecordingConfig(Section):
    """What is kept."""

    file: File | None = option(None, "record to an .mp4 or .mkv", flag="record", metavar="FILE")
    encoder: Text = option(
        "auto", "FFmpeg's name of an H.264 encoder, or auto: the board's own where it has one", metavar="NAME"
    )
    quality: int = option(20, "constant rate factor: 0 is lossless, 51 the worst", ge=0, le=51, metavar="N")
    overlay: bool = option(False, "record the picture as shown, wipe and figures included", flag="record-overlay")
    folder: File = option(
        Path(), "where segments and key r record to and key s puts its pictures", flag="folder", metavar="DIR"
    )
    segment: float | None = option(
        None, "record from the start, into a new file every so many seconds", ge=1, metavar="S"
    )
    segment_mb: float | None = option(
        None, "the same, into a new file every so many megabytes", flag="segment-mb", gt=0, metavar="MB"
    )
    quota_gb: float | None = option(
        None, "delete the oldest segments beyond so many gigabytes", flag="quota-gb", gt=0, metavar="GB"
    )
    reserve_mb: float = option(
        200, "segments stop while less than so many megabytes are free", flag="reserve-mb", ge=0, metavar="MB"
    )

    @property
    def segmented(self) -> bool:
        """Whether segments are asked for."""
        return self.segment is not None or self.segment_mb is not None

    @model_validator(mode="after")
    def _quota_of_segments(self) -> RecordingConfig:
        if self.quota_gb is not None and not self.segmented:
            raise ValueError("a quota is for segments: set segment (seconds) or segment_mb as well")
        return self


class KioskConfig(Section):
    """An exhibition, where nobody technical is."""

    lasting: bool = option(False, "wait for a camera or stream that goes away instead of ending")
    attract: NameOrFile = option("demo", "what is shown while it is away for long: demo or a film", metavar="FILE")
    attract_after: float = option(20.0, "seconds after which that begins", flag="attract-after", ge=0, metavar="S")
    frozen_after: float = option(
        2.0, "seconds without a new picture after which a source counts as away", flag="frozen-after", gt=0, metavar="S"
    )
    sweep: float | None = option(
        None,
        "move the wipe by itself, there and back in so many seconds; a hand stops it for a while",
        gt=1,
        metavar="S",
    )
    zoom: bool = option(False, "magnify the most detailed part of the picture, before beside after")
    languages: Names = option((), "caption in these languages, such as ko,en", metavar="NAMES")
    texts: File | None = option(None, "folder of LANGUAGE.yaml files that replace the shipped texts", metavar="DIR")
    font: File | None = option(None, "font of the caption; by default one with Latin and Hangul", metavar="FILE")
    lock_keys: bool = option(False, "the keyboard does nothing; SIGTERM ends the program", flag="lock-keys")


class TelemetryConfig(Section):
    """What the machine says of itself, and when that is a warning."""

    warn_temperature: float | None = option(
        90.0, "warn above so many degrees Celsius; off: never", flag="warn-temperature", metavar="C"
    )
    warn_power: float | None = option(
        None, "warn above so many watts; off: never", flag="warn-power", gt=0, metavar="W"
    )

    @field_validator("*", mode="before")
    @classmethod
    def _off(cls, value: Any) -> Any:
        """As the command line has it, and as YAML reads it."""
        return None if value is False or value == "off" else value


class RunConfig(Section):
    """How long, and what is told."""

    frames: int | None = option(None, "stop after this many pictures", ge=1, metavar="N")
    duration: float | None = option(None, "stop this many seconds after the first picture", gt=0, metavar="S")
    stats: File | None = option(None, "write the final figures", metavar="FILE.json")
    verbose: bool = option(False, "tell more, tracebacks included")
    quiet: bool = option(False, "tell of problems only")


class Config(Section):
    """Everything that can be set."""

    input: InputConfig = InputConfig()
    engine: EngineConfig = EngineConfig()
    governor: GovernorConfig = GovernorConfig()
    triton: TritonConfig = TritonConfig()
    output: OutputConfig = OutputConfig()
    recording: RecordingConfig = RecordingConfig()
    kiosk: KioskConfig = KioskConfig()
    telemetry: TelemetryConfig = TelemetryConfig()
    run: RunConfig = RunConfig()

    @model_validator(mode="before")
    @classmethod
    def _short_engine(cls, data: Any) -> Any:
        """`engine: bicubic` stands for `engine: {name: bicubic}`."""
        if isinstance(data, dict) and isinstance(data.get("engine"), str):
            return data | {"engine": {"name": data["engine"]}}
        return data

    @model_validator(mode="before")
    @classmethod
    def _empty_section(cls, data: Any) -> Any:
        """`input:` with nothing under it, as YAML reads it, leaves the defaults."""
        return (
            {k: {} if v is None and k in cls.model_fields else v for k, v in data.items()}
            if isinstance(data, dict)
            else data
        )

    def as_yaml(self) -> str:
        """The configuration as a file that app.config.yaml_file reads back to an equal one."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


SECTIONS: dict[str, type[Section]] = {
    name: field.annotation for name, field in Config.model_fields.items() if isinstance(field.annotation, type)
}


def known_keys() -> list[str]:
    """All keys as section.name."""
    return [f"{section}.{name}" for section, kind in SECTIONS.items() for name in kind.model_fields]
