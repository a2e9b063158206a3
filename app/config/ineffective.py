"""Options that do nothing beside the others that are given."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Collection, Iterator

from app.config.fields import flag_of
from app.config.schema import SECTIONS, Config
from app.uri import are_pictures, comes_and_goes, is_device, local

log = logging.getLogger(__name__)


def tell(config: Config, given: Collection[str]) -> None:
    """Warn of those among `given`, as section.name, that have no effect.

    They are the command line's. What a file has may be meant for another machine that reads it, one with a window.
    """
    told: set[str] = set()
    for keys, why in (*_rules(config), *_of_the_input(config), *_of_the_engine(config)):
        for key in sorted((set(keys) & set(given)) - told):
            section, name = key.split(".")
            if getattr(getattr(config, section), name) is not False:  # not --no-fullscreen, which is so anyway
                told.add(key)
                flag = flag_of(name, SECTIONS[section].model_fields[name])
                log.warning("--%s has no effect: %s", flag, why)


def _rules(config: Config) -> Iterator[tuple[list[str], str]]:
    """Keys that do nothing in `config`, and why."""
    kiosk, headless, kept = config.kiosk, config.output.headless, config.recording
    comes = comes_and_goes(config.input.camera, config.input.source)
    recorded = kept.file is not None or kept.segmented
    if headless:
        yield ["output.fullscreen", "output.isolate", "kiosk.lock_keys"], "there is no window"
        if not recorded:
            yield ["recording.overlay", "recording.encoder", "recording.quality"], "nothing is recorded"
        if not kept.segmented:
            yield ["recording.folder"], "there is no window, and without --segment nothing goes there"
        if not (recorded and kept.overlay):
            shown = [f"kiosk.{name}" for name in ("sweep", "magnifier", "languages", "texts", "font")]
            shown += ["output.view", "output.overlay"]
            yield shown, "there is no window, and nothing is recorded with --record-overlay"
    if not kept.segmented:
        yield ["recording.reserve_mb"], "it is for segments, and without --segment there are none"
    if not kiosk.languages:
        yield ["kiosk.texts", "kiosk.font"], "without --languages there is no caption"
    if not comes:
        yield ["kiosk.reconnect"], "the source is neither a camera nor a stream, which come and go"
    if not (comes and kiosk.reconnect):
        waiting = [f"kiosk.{name}" for name in ("attract", "attract_after", "frozen_after")]
        yield waiting, "without --reconnect, and a camera or a stream, nothing is waited for"
    if not config.governor.enabled:
        yield ["governor.models", "governor.fps"], "without --governor one model is used throughout"
    if config.run.verbose:
        yield ["run.quiet"], "--verbose is stronger"


def _of_the_input(config: Config) -> Iterator[tuple[list[str], str]]:
    """The same of where frames come from."""
    source = config.input.source or "demo"  # a camera is asked the same as the demo
    asked = source == "demo" or source.startswith("csi:") or is_device(source)
    # What stands in for one that is away has the size and the rate.
    waited = config.kiosk.reconnect and comes_and_goes(config.input.camera, config.input.source)
    if asked or waited or source.startswith("gst:"):
        yield ["input.loop"], "the source has no end, or is waited for"
    if not asked and not waited:
        yield ["input.size"], "the source has its own"
        with contextlib.suppress(OSError, ValueError):  # whoever opens it tells
            path = local(source)
            if path is None or not are_pictures(path):
                yield ["input.fps"], "the source has its own"


def _of_the_engine(config: Config) -> Iterator[tuple[list[str], str]]:
    """The same of what upscales, by the engines that may be loaded: `auto` may become any of this machine's."""
    asked, triton, governed = config.engine, config.triton, config.governor.enabled
    remote = asked.name.startswith("triton")
    others = asked.fallback if remote or asked.isolate or governed else ()
    kinds = {asked.name.partition("://")[0], *others}
    if not kinds & {"auto", "tensorrt"}:
        yield ["engine.memory", "engine.dla", "engine.profile"], "it is for TensorRT, which is not asked for"
    if not kinds & {"auto", "openvino"}:
        yield ["engine.threads"], "it is for OpenVINO, which is not asked for"
    steered = ["engine.isolate", *_keys("governor")]
    if not remote:
        yield [*_keys("triton"), "engine.start"], "the engine is no server's"
        if kinds == {"bicubic"}:
            yield [*steered, "engine.frame_timeout"], "bicubic has no process of its own, and no models"
        if not (asked.isolate or governed):
            yield ["engine.fallback"], "without --isolate nothing takes the place of an engine of this machine"
        if not asked.isolate:
            yield ["engine.frame_timeout"], "without --isolate an engine of this machine is waited for"
        return
    yield steered, "a server is a process of its own already, and has the model that its address names"
    if not asked.reads_model:
        yield ["engine.model"], "a server has the model that its address names"
    if not asked.fallback:
        yield ["engine.frame_timeout", "engine.start"], "with --fallback none there is nothing to go on with"
    if triton.transport not in ("auto", "jpeg"):
        yield ["triton.quality"], f"--transport {triton.transport} sends no JPEG files"
    if triton.token_file is None:
        yield ["triton.token_header"], "without --token-file there is no token"


def _keys(section: str) -> list[str]:
    return [f"{section}.{name}" for name in SECTIONS[section].model_fields]
