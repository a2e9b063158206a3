"""What is looked at before a run: whatever would fail after hours, or take a picture off the screen in vain."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

from app.config.schema import Config, KioskConfig
from app.errors import ConfigError
from app.overwrites import check_overwrites
from engines.catalog import shipped as catalog
from engines.catalog.ladder import BICUBIC_RUNG
from engines.errors import UserError
from engines.request import EngineKind
from engines.triton import address


def checked(config: Config, file: Path | None = None) -> Config:
    """`config`, which was read from `file` if there is one. Raises ConfigError."""
    if importlib.util.find_spec("cv2") is None:
        raise ConfigError(
            "OpenCV is not installed",
            f"{sys.executable} has no module cv2",
            "./scripts/run installs it. By hand: pip install opencv-python; on a Jetson, where the system has one, "
            "make the environment with python3 -m venv --system-site-packages.",
        )
    check_files(config, file)
    check_recording(config)
    check_model(config)
    check_kiosk(config.kiosk)
    return config


@contextlib.contextmanager
def configured() -> Iterator[None]:
    """Whatever kind of error it is: here it is the configuration that is wrong."""
    try:
        yield
    except UserError as error:
        raise ConfigError(*error.parts) from None


@configured()
def check_files(config: Config, file: Path | None = None) -> None:
    """Those that are written can be, and none is another one. Raises ConfigError."""
    from app import report
    from app.sinks import snapshot
    from app.sinks.recording import muxer

    check_overwrites(config, file)
    written = {"record": config.recording.file, "snapshot": config.output.snapshot, "stats": config.run.stats}
    if written["record"]:
        muxer.check_file(written["record"])
    if written["snapshot"]:
        snapshot.check_png(written["snapshot"])
    if written["stats"]:
        report.check_writable(written["stats"])


@configured()
def check_recording(config: Config) -> None:
    """The encoder is one for H.264, and the folder can be one. Raises ConfigError."""
    from app.sinks.recording import gst_encoder
    from app.sinks.recording.encoders import check_encoder

    wanted = config.recording
    with contextlib.suppress(OSError):  # what may not be looked into is a matter of the run, which tries again
        there = next((path for path in (wanted.folder, *wanted.folder.absolute().parents) if path.exists()), Path())
        if not there.is_dir():
            told = f"{there} is a file"
            raise ConfigError(f"Cannot record to the folder {wanted.folder}", told, "Give another --folder DIR.")
    if wanted.file is not None or wanted.segmented:
        # With a window the picture goes on without its segments, as when a driver is not there yet after the start.
        start = wanted.file is not None or config.output.headless
        check_encoder(gst_encoder.choose(wanted.encoder), start=start)


@configured()
def check_model(config: Config) -> None:
    """It is there, in the scale asked for, or the address is one of a server. Raises ConfigError."""
    asked = config.engine
    if EngineKind.of(asked.name).is_remote:
        address.parse(asked.name)
    if asked.reads_model and (asked.model != "auto" or asked.scale):
        model = catalog.usual(camera=False, scale=asked.scale) if asked.model == "auto" else asked.model
        catalog.find(model, scale=asked.scale)
    for model in config.governor.models:  # whether there is a governor or not
        if model != BICUBIC_RUNG:
            catalog.find(model, scale=asked.scale)


@configured()
def check_kiosk(kiosk: KioskConfig) -> None:
    """Its film, texts and font are there, whether they are shown or not. Raises ConfigError."""
    if kiosk.attract != "demo":
        from app.sources.reconnecting.factory import check_attract

        check_attract(kiosk.attract)
    if kiosk.languages or kiosk.texts or kiosk.font:
        from app.overlays import texts
        from app.overlays.caption import Caption
        from app.overlays.font import CaptionFont

        Caption(texts.load(kiosk.languages, kiosk.texts), CaptionFont(kiosk.font))
