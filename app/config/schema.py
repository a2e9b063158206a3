"""One frozen, validated configuration: what can be set, and what it may be."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BeforeValidator, field_validator, model_validator

from app.config.fields import (
    Camera,
    File,
    NameOrFile,
    Names,
    Section,
    Size,
    Text,
    info_of,
    option,
    parse_engine,
    parse_fallback,
)
from engines.catalog import shipped as catalog
from engines.catalog.contract import MAX_SCALE
from engines.request import EngineKind


class InputConfig(Section):
    """Where frames come from. Neither a camera nor a source: the first camera there is, else the demo."""

    camera: Camera | None = option(None, "camera: an index or a path such as /dev/v4l/by-id/...", metavar="N|PATH")
    source: Text | None = option(
        None,
        "video file, folder or glob of pictures, rtsp://, http://, udp://, csi:N, gst:PIPELINE, demo",
        metavar="URI",
        reads="source",
    )
    size: Size | None = option(
        None, "size to ask of the camera, or of the demo, such as 640x360", metavar="WxH", needs="choice-of-size"
    )
    fps: float | None = option(
        None, "rate to ask of the camera, or of demo and pictures", metavar="N", gt=0, le=1000, needs="choice-of-rate"
    )
    loop: bool = option(False, "begin a file again at its end", needs="end")
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
        needs="model-file",
        reads="model",
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
    threads: int | None = option(
        None, "processor threads for the engine; all by default", ge=1, le=1024, metavar="N", needs="openvino"
    )
    memory: Literal["auto", "copy", "mapped"] = option(
        "auto",
        "TensorRT: copy frames to the GPU, or let it read them where they are; auto: mapped where GPU and processor "
        "share memory, as on a Jetson",
        needs="tensorrt",
    )
    dla: int | None = option(
        None, "TensorRT: run on this DLA core where the board has one", ge=0, le=7, metavar="N", needs="tensorrt"
    )
    profile: bool = option(False, "TensorRT: write the time of every layer to the log at the start", needs="tensorrt")
    isolate: bool = option(
        False,
        "run it in a process of its own; while that is away the picture goes on, bicubic, and says so",
        needs="no-server network",
    )
    fallback: Annotated[tuple[str, ...], BeforeValidator(parse_fallback)] = option(
        ("bicubic",),
        "what goes on when a server is late or away, and what an isolated engine that has failed often gives way to: "
        "engines of this machine, such as openvino,bicubic; none: a run without its server fails",
        metavar="NAMES",
        needs="replacement",
    )
    frame_timeout: float = option(
        250.0,
        "milliseconds that a server or an isolated engine may take for a frame before the fallback upscales it",
        was="patience",
        ge=10,
        le=60000,
        metavar="MS",
        needs="fallback network timeout",
    )
    start: Literal["strict", "standby"] = option(
        "strict",
        "strict: a server that is away at the start ends the program; standby: the picture begins with the fallback",
        flag="engine-start",
        needs="server fallback",
    )

    @property
    def reads_model(self) -> bool:
        """Whether one is asked for that reads a model's file here."""
        return any(EngineKind.of(name).reads_model_file for name in (self.name, *self.fallback))

    @model_validator(mode="after")
    def _one_scale(self) -> EngineConfig:
        told = catalog.scale_in(self.model)
        if self.scale and told and told != self.scale:
            raise ValueError(f"{self.model} enlarges {told} times and scale is {self.scale}; leave one of them out")
        return self


class GovernorConfig(Section):
    """Steps between models of a family so that the rate is kept."""

    needs = "no-server network"

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
        needs="governor",
        reads="model",
    )
    fps: float | None = option(
        None,
        "the rate to keep; by default the source's",
        flag="governor-fps",
        metavar="N",
        gt=0,
        le=1000,
        needs="governor",
    )


class TritonConfig(Section):
    """How to talk to --engine triton://HOST:PORT/MODEL."""

    needs = "server"

    transport: Literal["auto", "shm", "cuda", "raw", "jpeg"] = option(
        "auto",
        "how pictures travel: shm, cuda: memory shared with a server on this machine; raw; jpeg: encoded, lossy; "
        "auto: shm on this machine, or raw where that fails; to another jpeg where it is served, else raw",
    )
    quality: int = option(
        90, "of JPEG files sent, 1 to 100", flag="jpeg-quality", ge=1, le=100, metavar="N", needs="jpeg"
    )
    tls: bool = option(False, "encrypt, and check the server's certificate")
    tls_ca: File | None = option(
        None, "who signs the server's certificate, if not the system's", metavar="FILE.pem", reads="file"
    )
    tls_certificate: File | None = option(
        None, "this camera's own certificate, for mutual TLS", metavar="FILE.pem", reads="file"
    )
    tls_key: File | None = option(None, "and its key", metavar="FILE.pem", reads="file")
    token_file: File | None = option(
        None,
        "a file with a token that is sent with every request, in the clear without TLS",
        metavar="FILE",
        reads="file",
    )
    token_header: str = option(
        "authorization",
        "the header it is sent in; authorization, as Bearer TOKEN, is for a proxy before Triton, which itself looks at "
        "triton-grpc-protocol-NAME alone, NAME being that of its --grpc-restricted-protocol",
        metavar="NAME",
        pattern="^[a-z0-9_.-]+$",
        needs="token",
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
    fullscreen: bool = option(False, "start in full screen", needs="window")
    isolate: bool = option(
        False,
        "have the window in a process of its own: a display that goes away is waited for instead of ending the program",
        flag="isolate-window",
        needs="window",
    )
    view: Literal["upscaled", "split"] = option(
        "upscaled",
        "what the window starts with: the upscaled picture, or the same split into before (bicubic) and after",
        values_were={"compare": "split"},
        needs="drawing",
    )
    overlay: bool = option(True, "figures on the picture", needs="drawing")
    snapshot: File | None = option(
        None, "write a before/after picture of the beginning", metavar="FILE.png", writes=True
    )


class RecordingConfig(Section):
    """What is kept."""

    file: File | None = option(None, "record to an .mp4 or .mkv", flag="record", metavar="FILE", writes=True)
    encoder: Text = option(
        "auto",
        "FFmpeg's name of an H.264 encoder, or auto: the board's own where it has one",
        metavar="NAME",
        needs="recording",
    )
    quality: int = option(
        20, "constant rate factor: 0 is lossless, 51 the worst", ge=0, le=51, metavar="N", needs="recording"
    )
    overlay: bool = option(
        False, "record the picture as shown, wipe and figures included", flag="record-overlay", needs="recording"
    )
    folder: File = option(
        Path(), "where segments and key r record to and key s puts its pictures", metavar="DIR", needs="folder"
    )
    segment: float | None = option(
        None, "record from the start, into a new file every so many seconds", ge=1, metavar="S"
    )
    segment_mb: float | None = option(None, "the same, into a new file every so many megabytes", gt=0, metavar="MB")
    quota_gb: float | None = option(None, "delete the oldest segments beyond so many gigabytes", gt=0, metavar="GB")
    reserve_mb: float = option(
        200, "segments stop while less than so many megabytes are free", ge=0, metavar="MB", needs="segments"
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

    reconnect: bool = option(
        False,
        "wait for a camera or stream that goes away instead of ending the program",
        was="lasting",
        needs="live-source",
    )
    attract: NameOrFile = option(
        "demo",
        "what is shown while it is away for long: demo or a film",
        metavar="FILE",
        needs="reconnecting",
        reads="source",
    )
    attract_after: float = option(20.0, "seconds after which that begins", ge=0, metavar="S", needs="reconnecting")
    frozen_after: float = option(
        2.0,
        "seconds without a new picture after which a source counts as away",
        gt=0,
        metavar="S",
        needs="reconnecting",
    )
    sweep: float | None = option(
        None,
        "move the wipe by itself, there and back in so many seconds; a hand stops it for a while",
        gt=1,
        metavar="S",
        needs="drawing",
    )
    magnifier: bool = option(
        False, "magnify the most detailed part of the picture, before beside after", was="zoom", needs="drawing"
    )
    languages: Names = option((), "caption in these languages, such as ko,en", metavar="NAMES", needs="drawing")
    texts: File | None = option(
        None, "folder of LANGUAGE.yaml files that replace the shipped texts", metavar="DIR", needs="drawing caption"
    )
    font: File | None = option(
        None,
        "font of the caption; by default one with Latin and Hangul",
        metavar="FILE",
        needs="drawing caption",
        reads="file",
    )
    lock_keys: bool = option(False, "the keyboard does nothing; SIGTERM ends the program", needs="window")


class TelemetryConfig(Section):
    """What the machine says of itself, and when that is a warning."""

    warn_temperature: float | None = option(90.0, "warn above so many degrees Celsius; off: never", metavar="C")
    warn_power: float | None = option(None, "warn above so many watts; off: never", gt=0, metavar="W")

    @field_validator("*", mode="before")
    @classmethod
    def _off(cls, value: Any) -> Any:
        """As the command line has it, and as YAML reads it."""
        return None if value is False or value == "off" else value


class RunConfig(Section):
    """How long, and what is told."""

    frames: int | None = option(None, "stop after this many pictures", ge=1, metavar="N")
    duration: float | None = option(None, "stop this many seconds after the first picture", gt=0, metavar="S")
    stats: File | None = option(None, "write the final figures", metavar="FILE.json", writes=True)
    verbose: bool = option(False, "tell more, tracebacks included")
    quiet: bool = option(False, "log warnings and errors only", needs="not-verbose")
    log_format: Literal["text", "json"] = option(
        "text",
        "how standard error is written: text for people, or json for programs: an object a line with its time, level, "
        "event and the event's figures",
    )

    @property
    def log_level(self) -> int:
        """The level of the logging module from which lines are written."""
        return logging.DEBUG if self.verbose else logging.WARNING if self.quiet else logging.INFO


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


RENAMED = {
    f"{section}.{was}": f"{section}.{name}"
    for section, kind in SECTIONS.items()
    for name, field in kind.model_fields.items()
    if (was := info_of(field).was)
}
"""Former keys and what they are called now."""


def needs_of(key: str) -> list[str]:
    """What the option `key`, as section.name, has no effect without."""
    section, name = key.split(".")
    return [*SECTIONS[section].needs.split(), *info_of(SECTIONS[section].model_fields[name]).needs.split()]
