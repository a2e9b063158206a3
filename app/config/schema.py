"""The configuration: every option with its default, its limits and its help text."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, field_validator, model_validator

from app.config.fields import (
    Camera,
    Controls,
    File,
    NameOrFile,
    Names,
    OutputSize,
    Scale,
    Section,
    Size,
    Text,
    defaults,
    info_of,
    option,
    parse_engine,
    parse_fallback,
)
from engines.catalog import shipped as catalog
from engines.catalog.contract import MAX_SCALE, MAX_STRENGTH
from engines.request import EngineKind


class InputConfig(Section):
    """Where frames come from. Without a camera or a source: the first camera that is found, else the demo."""

    camera: Camera | None = option(
        None, "a camera, by its index or by a path such as /dev/v4l/by-id/...", metavar="N|PATH"
    )
    source: Text | None = option(
        None,
        "a video file, a folder or glob pattern of pictures, rtsp://, http://, udp://, csi:N, gst:PIPELINE or demo",
        metavar="URI",
        reads="source",
    )
    size: Size | None = option(
        None,
        "the size to request from the camera or the demo, such as 640x360, before any rotation",
        metavar="WxH",
        needs="choice-of-size",
    )
    fps: float | None = option(
        None,
        "the frame rate to request from the camera or the demo, or at which to show still pictures",
        metavar="N",
        gt=0,
        le=1000,
        needs="choice-of-rate",
    )
    loop: bool = option(False, "restart a file when it ends", needs="end")
    rotate: Literal[0, 90, 180, 270] = option(0, "rotate what the source delivers clockwise by so many degrees")
    mirror: bool = option(
        False, "mirror what the source delivers, after any rotation; texts on the picture stay readable"
    )
    pace: Literal["auto", "live", "source", "fast"] = option(
        "auto",
        "live: drop late frames; source: play a file at its own rate and drop nothing; fast: as fast as possible, and "
        "drop nothing; auto: live for cameras, live streams and the demo; otherwise source with a window, fast without",
    )
    controls: Controls = option(
        {},
        "set a control of a V4L2 camera, such as power_line_frequency=1 or exposure_time_absolute=150; may be given "
        "several times; --list shows those of each camera",
        flag="control",
        metavar="NAME=VALUE",
        needs="v4l2-camera",
    )

    @model_validator(mode="after")
    def _one_input(self) -> InputConfig:
        if self.camera is not None and self.source is not None:
            raise ValueError("give a camera or a source, not both")
        return self


class EngineConfig(Section):
    """What upscales the frames."""

    name: Annotated[str, BeforeValidator(parse_engine)] = option(
        "auto", "auto, tensorrt, openvino, bicubic or triton://HOST:PORT/MODEL", flag="engine", metavar="NAME"
    )
    model: NameOrFile = option(
        "auto",
        "a shipped model (see --list), an .onnx file, or auto: fast-webcam for cameras and live streams, which removes "
        "noise and compression blocks; fast for files, which stays true to the picture",
        metavar="NAME|FILE",
        needs="model-file",
        reads="model",
    )
    scale: Scale | None = option(
        None,
        "how many times larger; by default what the model's name says, such as 4 for fast-x4, else 2; 1.5 and other "
        "numbers between: what the next larger network makes is made smaller, to even numbers of pixels",
        ge=1,
        le=MAX_SCALE,
        metavar="N",
    )
    strength: float = option(
        1.0,
        "how much detail the network adds: 0 none, which leaves a smooth picture, 1 as trained, up to 2; keys + and - "
        "change it",
        ge=0,
        le=MAX_STRENGTH,
        metavar="N",
    )
    depth: int = option(
        2,
        "frames in flight; each one beyond 2 adds the engine's time for a frame to the latency",
        ge=1,
        le=8,
        metavar="N",
    )
    threads: int | None = option(
        None, "OpenVINO: the number of processor threads; all by default", ge=1, le=1024, metavar="N", needs="openvino"
    )
    memory: Literal["auto", "copy", "mapped"] = option(
        "auto",
        "TensorRT: copy frames to the GPU, or map them so that it reads them in place; auto: mapped where the GPU and "
        "the processor share memory, as on a Jetson",
        needs="tensorrt",
    )
    dla: int | None = option(
        None, "TensorRT: run on this DLA core, if the board has one", ge=0, le=7, metavar="N", needs="tensorrt"
    )
    profile: bool = option(False, "TensorRT: log the time of every layer at the start", needs="tensorrt")
    isolate: bool = option(
        False,
        "run the engine in a process of its own; while that is away the picture goes on, bicubic and marked as such",
        needs="no-server network",
    )
    fallback: Annotated[tuple[str, ...], BeforeValidator(parse_fallback)] = option(
        ("bicubic",),
        "the engines of this machine, such as openvino,bicubic, that take over from a server that is late or away, and "
        "from an isolated engine that has failed often; none: without its server the program fails",
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
        "if a server is away at the start: strict ends the program, standby begins with the fallback",
        flag="engine-start",
        needs="server fallback",
    )

    def with_strength(self, strength: float) -> EngineConfig:
        """Return a copy with another strength."""
        return self.model_copy(update={"strength": strength})

    @property
    def network_scale(self) -> int | None:
        """The scale that the network must have; None if any may do."""
        return int(self.scale) if self.scale is not None and self.scale == int(self.scale) else None

    @property
    def reads_model(self) -> bool:
        """Whether one of the engines asked for reads a model file on this machine."""
        return any(EngineKind.of(name).reads_model_file for name in (self.name, *self.fallback))

    @model_validator(mode="after")
    def _one_scale(self) -> EngineConfig:
        scale = catalog.scale_in(self.model)
        if self.scale and scale and scale != self.scale:
            raise ValueError(f"{self.model} enlarges {scale} times and scale is {self.scale}; leave one of them out")
        return self


class GovernorConfig(Section):
    """Switches between models of a family so that the frame rate is kept."""

    needs = "no-server network"

    enabled: bool = option(
        False,
        "use a smaller model while the machine is busy or hotter than --warn-temperature, and a larger one while there "
        "is time for it",
        flag="governor",
    )
    models: Names = option(
        (),
        "the models to switch between, such as balanced,fast,bicubic; by default all shipped models of the kind and "
        "scale of --model",
        flag="governor-models",
        metavar="NAMES",
        needs="governor",
        reads="model",
    )
    fps: float | None = option(
        None,
        "the frame rate to keep; by default that of the source",
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
        "how frames are sent: shm or cuda, in memory shared with a server on this machine; raw; jpeg, which is lossy; "
        "auto: shm to a server on this machine, or raw if that fails; jpeg to another machine that serves it, else raw",
    )
    quality: int = option(
        90, "the quality of JPEG files sent, 1 to 100", flag="jpeg-quality", ge=1, le=100, metavar="N", needs="jpeg"
    )
    tls: bool = option(False, "encrypt the connection and check the server's certificate")
    tls_ca: File | None = option(
        None,
        "the certificate authority that signs the server's certificate, if the system does not have it",
        metavar="FILE.pem",
        reads="file",
    )
    tls_certificate: File | None = option(
        None, "the certificate of this client, for mutual TLS", metavar="FILE.pem", reads="file"
    )
    tls_key: File | None = option(None, "the key of that certificate", metavar="FILE.pem", reads="file")
    token_file: File | None = option(
        None,
        "a file with a token to send with every request, unencrypted without --tls",
        metavar="FILE",
        reads="file",
    )
    token_header: str = option(
        "authorization",
        "the header to send the token in; authorization, as Bearer TOKEN, is for a proxy in front of Triton, which "
        "itself only reads triton-grpc-protocol-NAME, where NAME is the one in its --grpc-restricted-protocol",
        metavar="NAME",
        pattern="^[a-z0-9_.-]+$",
        needs="token",
    )
    timeout: float = option(
        2.0, "seconds to wait for a connection to the server", flag="connect-timeout", gt=0, le=60, metavar="S"
    )

    @model_validator(mode="after")
    def _both(self) -> TritonConfig:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("mutual TLS needs both tls_certificate and tls_key")
        return self


class OutputConfig(Section):
    """Where the upscaled frames are shown."""

    headless: bool = option(False, "open no window")
    size: OutputSize | None = option(
        None,
        "the size of the picture that is shown and recorded, such as 1920x1080, or screen for that of the screen; the "
        "picture is as large as fits into it, its aspect ratio kept, in even numbers; by default --scale decides",
        flag="output-size",
        metavar="WxH|screen",
    )
    fullscreen: bool = option(False, "start in full screen; key f", needs="window")
    isolate: bool = option(
        False,
        "run the window in a process of its own, so that a display that goes away is waited for instead of ending the "
        "program",
        flag="isolate-window",
        needs="window",
    )
    view: Literal["upscaled", "split"] = option(
        "upscaled",
        "what the window starts with: the upscaled picture, or the same split into before (bicubic) and after; key "
        "space",
        values_were={"compare": "split"},
        needs="drawing",
    )
    overlay: bool = option(True, "show statistics on the picture", needs="drawing")
    snapshot: File | None = option(
        None, "write a before-and-after picture of the first live frame", metavar="FILE.png", writes=True
    )

    @model_validator(mode="after")
    def _screen_of_window(self) -> OutputConfig:
        if self.headless and self.size == "screen":
            raise ValueError("headless there is no screen: give size as WIDTHxHEIGHT, such as 1920x1080")
        return self


class RecordingConfig(Section):
    """What is recorded."""

    file: File | None = option(None, "record to an .mp4 or .mkv", flag="record", metavar="FILE", writes=True)
    encoder: Text = option(
        "auto",
        "the name of an H.264 encoder of FFmpeg, or auto: the board's own if it has one",
        metavar="NAME",
        needs="recording",
    )
    quality: int = option(
        20, "the constant rate factor: 0 is lossless, 51 is worst", ge=0, le=51, metavar="N", needs="recording"
    )
    overlay: bool = option(
        False,
        "record the picture as shown, with the split view and the statistics",
        flag="record-overlay",
        needs="recording",
    )
    folder: File = option(
        Path(),
        "the folder for segments, for recordings by key r and for pictures by key s",
        metavar="DIR",
        needs="folder",
    )
    segment: float | None = option(
        None, "record from the start, in a new file every so many seconds", ge=1, metavar="S"
    )
    segment_mb: float | None = option(
        None, "record from the start, in a new file every so many megabytes", gt=0, metavar="MB"
    )
    quota_gb: float | None = option(
        None, "delete the oldest segments when there are more gigabytes than this", gt=0, metavar="GB"
    )
    reserve_mb: float = option(
        200, "stop recording segments while fewer megabytes than this are free", ge=0, metavar="MB", needs="segments"
    )

    @property
    def segmented(self) -> bool:
        """Whether segments are recorded."""
        return self.segment is not None or self.segment_mb is not None

    @model_validator(mode="after")
    def _quota_of_segments(self) -> RecordingConfig:
        if self.quota_gb is not None and not self.segmented:
            raise ValueError("a quota is for segments: set segment (seconds) or segment_mb as well")
        return self


class KioskConfig(Section):
    """For an exhibition, where nobody technical is around."""

    reconnect: bool = option(
        False,
        "wait for a camera or stream that goes away instead of ending the program",
        was="lasting",
        needs="live-source",
    )
    attract: NameOrFile = option(
        "demo",
        "what to show once the source has been away for a while: demo or a film",
        metavar="FILE",
        needs="reconnecting",
        reads="source",
    )
    attract_after: float = option(
        20.0, "seconds that the source is away before the attract loop begins", ge=0, metavar="S", needs="reconnecting"
    )
    frozen_after: float = option(
        2.0,
        "seconds without a new picture after which a source counts as away",
        gt=0,
        metavar="S",
        needs="reconnecting",
    )
    sweep: float | None = option(
        None,
        "move the divider of the split view by itself, there and back in so many seconds; using the mouse or the "
        "arrow keys stops it for a while",
        gt=1,
        metavar="S",
        needs="drawing",
    )
    magnifier: bool = option(
        False,
        "start with the magnifier, which shows the most detailed part of the picture, before beside after; key m",
        was="zoom",
        needs="drawing",
    )
    languages: Names = option((), "show a caption in these languages, such as ko,en", metavar="NAMES", needs="drawing")
    texts: File | None = option(
        None, "a folder of LANGUAGE.yaml files that replace the shipped texts", metavar="DIR", needs="drawing caption"
    )
    font: File | None = option(
        None,
        "the font of the caption; by default one with Latin and Hangul",
        metavar="FILE",
        needs="drawing caption",
        reads="file",
    )
    lock_keys: bool = option(
        False,
        "ignore the keyboard, and the mouse except for the divider; SIGTERM ends the program",
        needs="window",
    )


class TelemetryConfig(Section):
    """When to warn of the machine's temperature and power."""

    warn_temperature: float | None = option(90.0, "warn above so many degrees Celsius; off for never", metavar="C")
    warn_power: float | None = option(None, "warn above so many watts; off for never", gt=0, metavar="W")

    @field_validator("*", mode="before")
    @classmethod
    def _off(cls, value: Any) -> Any:
        """Read `off`, as the command line has it, and false, as YAML reads it."""
        return None if value is False or value == "off" else value


class RunConfig(Section):
    """How long to run, and what to report."""

    frames: int | None = option(None, "stop after so many pictures", ge=1, metavar="N")
    duration: float | None = option(None, "stop so many seconds after the first picture", gt=0, metavar="S")
    stats: File | None = option(None, "write the final statistics", metavar="FILE.json", writes=True)
    verbose: bool = option(False, "log more, tracebacks included")
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

    input: InputConfig = defaults()
    engine: EngineConfig = defaults()
    governor: GovernorConfig = defaults()
    triton: TritonConfig = defaults()
    output: OutputConfig = defaults()
    recording: RecordingConfig = defaults()
    kiosk: KioskConfig = defaults()
    telemetry: TelemetryConfig = defaults()
    run: RunConfig = defaults()

    @model_validator(mode="before")
    @classmethod
    def _short_engine(cls, data: Any) -> Any:
        """Let `engine: bicubic` stand for `engine: {name: bicubic}`."""
        if isinstance(data, dict) and isinstance(data.get("engine"), str):
            return data | {"engine": {"name": data["engine"]}}
        return data

    @model_validator(mode="before")
    @classmethod
    def _empty_section(cls, data: Any) -> Any:
        """Let `input:` with nothing under it leave the defaults."""
        return (
            {k: {} if v is None and k in cls.model_fields else v for k, v in data.items()}
            if isinstance(data, dict)
            else data
        )

    def with_strength(self, strength: float) -> Config:
        """Return a copy with another strength of the engine."""
        return self.model_copy(update={"engine": self.engine.with_strength(strength)})

    @model_validator(mode="after")
    def _one_output_size(self) -> Config:
        if self.output.size is not None and self.engine.scale is not None and self.engine.network_scale is None:
            raise ValueError(f"output.size and engine.scale {self.engine.scale:g} both say how large; leave one out")
        return self

    def as_yaml(self) -> str:
        """Return the configuration as a file that app.config.yaml_file reads back to an equal one."""
        import yaml  # not at the top: a run without a file needs none of it

        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


SECTIONS: dict[str, type[Section]] = {
    name: field.annotation for name, field in Config.model_fields.items() if isinstance(field.annotation, type)
}


def known_keys() -> list[str]:
    """Return all keys as section.name."""
    return [f"{section}.{name}" for section, kind in SECTIONS.items() for name in kind.model_fields]


RENAMED = {
    f"{section}.{was}": f"{section}.{name}"
    for section, kind in SECTIONS.items()
    for name, field in kind.model_fields.items()
    if (was := info_of(field).was)
}
"""Former keys and what they are called now."""


def needs_of(key: str) -> list[str]:
    """Return what the option `key`, as section.name, has no effect without."""
    section, name = key.split(".")
    return [*SECTIONS[section].needs.split(), *info_of(SECTIONS[section].model_fields[name]).needs.split()]
