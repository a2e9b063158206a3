"""Checks before a session: whatever would fail only after hours, or take the picture off the screen for nothing."""

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
    """Check `config`, which was read from `file` if there is one, and return it. Raises ConfigError."""
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
    """Turn any UserError into a ConfigError: here it is the configuration that is wrong."""
    try:
        yield
    except UserError as error:
        raise ConfigError(*error.parts) from None


@configured()
def check_files(config: Config, file: Path | None = None) -> None:
    """Check that the files to be written can be, and that none is another file of the run. Raises ConfigError."""
    from app import report
    from app.sinks import snapshot
    from app.sinks.recording import muxer

    check_overwrites(config, file)
    if config.recording.file is not None:
        muxer.check_file(config.recording.file)
    if config.output.snapshot is not None:
        snapshot.check_png(config.output.snapshot)
    if config.run.stats is not None:
        report.check_writable(config.run.stats)


@configured()
def check_recording(config: Config) -> None:
    """Check that the encoder makes H.264 here, and that the folder is or can be one. Raises ConfigError."""
    from app.sinks.recording import gst_encoder
    from app.sinks.recording.encoders import check_encoder

    recording = config.recording
    folder = recording.folder
    with contextlib.suppress(OSError):  # a folder that may not be looked into is left to the session, which retries
        existing = next((path for path in (folder, *folder.absolute().parents) if path.exists()), Path())
        if not existing.is_dir():
            facts = f"{existing} is a file"
            raise ConfigError(f"Cannot record to the folder {folder}", facts, "Give another --folder DIR.")
    if recording.file is not None or recording.segmented:
        # With a window, the picture goes on without segments while, soon after the start, a driver is still missing.
        start = recording.file is not None or config.output.headless
        check_encoder(gst_encoder.choose(recording.encoder), start=start)


@configured()
def check_model(config: Config) -> None:
    """Check that the models exist in the scale asked for, and a server's address is one. Raises ConfigError."""
    engine = config.engine
    if EngineKind.of(engine.name).is_remote:
        address.parse(engine.name)
    if engine.reads_model and (engine.model != "auto" or engine.scale):
        model = catalog.usual(camera=False, scale=engine.scale) if engine.model == "auto" else engine.model
        catalog.find(model, scale=engine.scale)
    for model in config.governor.models:  # whether there is a governor or not
        if model != BICUBIC_RUNG:
            catalog.find(model, scale=engine.scale)


@configured()
def check_kiosk(kiosk: KioskConfig) -> None:
    """Check the attract loop's film, the texts and the font, whether they will be shown or not. Raises ConfigError."""
    if kiosk.attract != "demo":
        from app.sources.reconnecting.factory import check_attract

        check_attract(kiosk.attract)
    if kiosk.languages or kiosk.texts or kiosk.font:
        from app.overlays import texts
        from app.overlays.caption import Caption
        from app.overlays.font import CaptionFont

        Caption(texts.load(kiosk.languages, kiosk.texts), CaptionFont(kiosk.font))
