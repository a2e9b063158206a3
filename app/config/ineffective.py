"""Options that have no effect beside the others that are given."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Collection

from app.config.fields import flag_of
from app.config.schema import SECTIONS, Config, needs_of
from app.uri import are_pictures, comes_and_goes, is_device, local
from engines.request import EngineKind
from engines.support.event_log import log_event

log = logging.getLogger(__name__)


def warn(config: Config, given: Collection[str]) -> None:
    """Log a warning for each option among `given`, as section.name, that has no effect.

    `given` is what the command line sets. A file may be meant for another machine too, one with a window.
    """
    state = _of_outputs(config) | _of_the_source(config) | _of_the_engine(config)
    for key in sorted(given):
        section, name = key.split(".")
        if getattr(getattr(config, section), name) is False:  # --no-fullscreen asks for what is the case anyway
            continue
        unmet = [why for met, why in map(state.__getitem__, needs_of(key)) if not met]
        if unmet:
            flag = flag_of(name, SECTIONS[section].model_fields[name])
            message = "--%(flag)s has no effect: %(reason)s"
            log_event(log, logging.WARNING, "option_ineffective", message, flag=flag, reason=unmet[0])


# Each function below gives some of what fields may need: whether `config` has it, and what to say where it has not.
State = dict[str, tuple[bool, str]]


def _of_outputs(config: Config) -> State:
    window, segments = not config.output.headless, config.recording.segmented
    recorded = config.recording.file is not None or segments
    return {
        "window": (window, "there is no window"),
        "recording": (window or recorded, "nothing is recorded"),
        "folder": (window or segments, "there is no window, and without --segment nothing is written there"),
        "drawing": (
            window or (recorded and config.recording.overlay),
            "there is no window, and nothing is recorded with --record-overlay",
        ),
        "segments": (segments, "it is for segments, and without --segment there are none"),
        "caption": (bool(config.kiosk.languages), "without --languages there is no caption"),
        "not-verbose": (not config.run.verbose, "--verbose takes precedence"),
    }


def _of_the_source(config: Config) -> State:
    live = comes_and_goes(config.input.camera, config.input.source)
    waits = live and config.kiosk.reconnect
    source = config.input.source or "demo"  # a camera takes the same options as the demo
    # What stands in for a source that is away has the size and the rate that are asked for.
    obeys = waits or source == "demo" or source.startswith("csi:") or is_device(source)
    pictures = True  # no warning of what cannot be looked at: opening the source reports it
    with contextlib.suppress(OSError, ValueError):
        path = local(source)
        pictures = path is not None and are_pictures(path)
    return {
        "live-source": (live, "only cameras and streams are waited for, and the source is neither"),
        "reconnecting": (waits, "without --reconnect, and a camera or a stream, nothing is waited for"),
        "end": (not obeys and not source.startswith("gst:"), "the source has no end, or is waited for"),
        "v4l2-camera": (
            config.input.source is None or is_device(source),
            "only V4L2 cameras have controls, and the source is none",
        ),
        "choice-of-size": (obeys, "the source has a size of its own"),
        "choice-of-rate": (obeys or pictures, "the source has a rate of its own"),
    }


def _of_the_engine(config: Config) -> State:
    """By the engines that may be loaded: `auto` may become any of this machine's."""
    engine, triton, governor = config.engine, config.triton, config.governor.enabled
    remote = EngineKind.of(engine.name).is_remote
    replaced = remote or engine.isolate or governor
    loaded = {EngineKind.of(name) for name in (engine.name, *(engine.fallback if replaced else ()))}
    return {
        "tensorrt": (
            bool(loaded & {EngineKind.AUTO, EngineKind.TENSORRT}),
            "it is for TensorRT, which this run does not use",
        ),
        "openvino": (
            bool(loaded & {EngineKind.AUTO, EngineKind.OPENVINO}),
            "it is for OpenVINO, which this run does not use",
        ),
        "server": (remote, "the engine runs on this machine, not on a server"),
        "no-server": (not remote, "a server is a process of its own already, and has the model that its address names"),
        "network": (loaded != {EngineKind.BICUBIC}, "bicubic has no process of its own, and no models"),
        "model-file": (not remote or engine.reads_model, "a server has the model that its address names"),
        "replacement": (replaced, "without --isolate nothing takes the place of an engine of this machine"),
        "fallback": (not remote or bool(engine.fallback), "with --fallback none there is nothing to continue with"),
        "timeout": (remote or engine.isolate, "without --isolate an engine of this machine is waited for"),
        "governor": (governor, "without --governor one model is used throughout"),
        "jpeg": (triton.transport in ("auto", "jpeg"), f"--transport {triton.transport} sends no JPEG files"),
        "token": (triton.token_file is not None, "without --token-file there is no token"),
    }
