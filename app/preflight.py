"""Checks before a session: whatever would fail only after hours, or take the picture off the screen for nothing."""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from app.config.fields import flag_of, info_of
from app.config.schema import SECTIONS, Config, KioskConfig
from app.errors import ConfigError
from app.uri import STILLS, local
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
    # Before PyAV, which the checks below may import: if the libxcb of PyAV's wheel is loaded first, OpenCV's window
    # hangs in it (seen with PyAV 18.1 and OpenCV 5.0).
    import cv2  # noqa: F401

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
    check_overwrites(config, file)
    if config.recording.file is not None:
        from app.sinks.recording import muxer

        muxer.check_file(config.recording.file)
    if config.output.snapshot is not None:
        from app.sinks import snapshot

        snapshot.check_png(config.output.snapshot)
    if config.run.stats is not None:
        from app import report

        report.check_writable(config.run.stats)


@configured()
def check_recording(config: Config) -> None:
    """Check that the encoder makes H.264 here, and that the folder is or can be one. Raises ConfigError."""
    recording = config.recording
    folder = recording.folder
    with contextlib.suppress(OSError):  # a folder that may not be looked into is left to the session, which retries
        existing = next((path for path in (folder, *folder.absolute().parents) if path.exists()), Path())
        if not existing.is_dir():
            facts = f"{existing} is a file"
            raise ConfigError(f"Cannot record to the folder {folder}", facts, "Give another --folder DIR.")
    if recording.file is not None or recording.segmented:
        from app.sinks.recording import gst_encoder
        from app.sinks.recording.encoders import check_encoder

        # With a window, the picture goes on without segments while, soon after the start, a driver is still missing.
        start = recording.file is not None or config.output.headless
        check_encoder(gst_encoder.choose(recording.encoder), start=start)


@configured()
def check_model(config: Config) -> None:
    """Check that the models exist in the scale asked for, and a server's address is one. Raises ConfigError."""
    engine = config.engine
    if EngineKind.of(engine.name).is_remote:
        address.parse(engine.name)
    if engine.reads_model and (engine.model != "auto" or engine.network_scale):
        model = catalog.usual(camera=False, scale=engine.network_scale) if engine.model == "auto" else engine.model
        catalog.find(model, scale=engine.network_scale)
    for model in config.governor.models:  # whether there is a governor or not
        if model != BICUBIC_RUNG:
            catalog.find(model, scale=engine.network_scale)


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


def check_overwrites(config: Config, file: Path | None) -> None:
    """Raise ConfigError if a file that is written is read as well, or written twice. `file`: the configuration's."""
    read, written = _files(config)
    if file is not None:
        read.append(("config", file))
    pairs = itertools.chain(itertools.product(read, written), itertools.combinations(written, 2))
    for (name, path), (other, other_path) in pairs:
        if (known := _identity(path)) and known == _identity(other_path):
            raise ConfigError(
                f"{name} and {other} are the same file", str(other_path), "Give one of them another name."
            )
    existing = {_identity(path): (name, path) for name, path in written if _stat(path) is not None}
    for picture in _pictures(config) if existing else ():  # there may be a hundred thousand
        if (known := _identity(picture)) in existing and known is not None:
            name, path = existing[known]
            raise ConfigError(f"{name} is one of the source's pictures", str(path), "Give it another name.")


Files = list[tuple[str, Path]]
"""Flags and the files that they name."""


def _files(config: Config) -> tuple[Files, Files]:
    """What the run reads and what it writes, as the fields of the schema say."""
    read, written = Files(), Files()
    for section, kind in SECTIONS.items():
        for name, field in kind.model_fields.items():
            info, value = info_of(field), getattr(getattr(config, section), name)
            for item in value if isinstance(value, tuple) else (value,):
                path = _path(info.reads, item) if info.reads else item
                if (info.reads or info.writes) and path is not None:
                    (written if info.writes else read).append((flag_of(name, field), path))
    return read, written


def _path(reads: str, value: str | Path | None) -> Path | None:
    """The file that `value` names; None where it names none, as demo and the name of a shipped model do."""
    if value is None or isinstance(value, Path):
        return value
    if reads == "source":
        return local(value)
    return Path(value) if catalog.is_path(value) else None


def _pictures(config: Config) -> Iterator[Path]:
    """The pictures of a source that is a folder or a pattern. Opening the source reports one that cannot be read."""
    source = local(config.input.source or "demo")
    if source and not source.is_file():
        from app.sources.images import listed

        with contextlib.suppress(OSError):
            yield from (path for path in listed(source) if path.suffix.lower() in STILLS)


def _identity(path: Path) -> object:
    """What all names of a file have in common, symbolic and hard links included; None for what is no regular file."""
    found = _stat(path)
    if found is None:  # new/../film.mp4 cannot be found until the folder new is made, and then it is film.mp4
        path = Path(os.path.realpath(path))
        found = _stat(path)
    if found is None:
        return path
    return (found.st_dev, found.st_ino) if stat.S_ISREG(found.st_mode) else None


def _stat(path: Path) -> os.stat_result | None:
    with contextlib.suppress(OSError):
        return path.stat()
    return None
