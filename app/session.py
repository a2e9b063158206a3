"""One session: build the source, the engine, the overlays and the sinks; run the pipeline; write the results."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from app.config.schema import Config
from app.engine_request import engine_loader, expected_output
from app.errors import SinkError
from app.governor.driver import GovernorDriver
from app.lifecycle import Lifecycle
from app.overlays.stack import build_overlays, screen_panel
from app.overlays.view_state import ViewState
from app.pipeline.build_preview import BuildPreview
from app.pipeline.pacing import DueTime, PacingPolicy
from app.pipeline.pipeline import Pipeline
from app.pipeline.protocols import Source
from app.pipeline.stats import Stats
from app.pipeline.strength_knob import StrengthKnob
from app.report import Report, save_figures
from app.sinks.filenames import Filenames
from app.sinks.storage import StorageSinks
from app.sinks.window import PersistentWindow
from app.sinks.window.screen import Screen
from app.sources import open_source
from app.sources.reconnecting.known_cameras import KnownCameras
from app.system.systemd import Notifier, Watchdog
from app.system.telemetry import Telemetry
from app.uri import comes_and_goes
from engines.errors import UserError
from engines.support.event_log import log_event

log = logging.getLogger("livesr")


class Closable(Protocol):
    """A part that a session opens and closes."""

    def close(self) -> None:
        """Release everything. Idempotent."""


P = TypeVar("P", bound=Closable)


def open_input(config: Config, known_cameras: KnownCameras | None = None) -> Source:
    """Return the source that the configuration names, which may come and go. Raises SourceError.

    `known_cameras` is what earlier sessions have noted of cameras.
    """
    source, kiosk = config.input, config.kiosk
    options = source.model_dump(include={"camera", "source", "size", "fps", "mirror", "rotate", "controls"})
    if kiosk.reconnect and comes_and_goes(source.camera, source.source):
        from app.sources.reconnecting.factory import open_reconnecting

        times = kiosk.model_dump(include={"attract", "attract_after", "frozen_after"})
        return open_reconnecting(**options, **times, known_cameras=known_cameras)
    return open_source(**options, loop=source.loop)


def with_screen_size(config: Config) -> Config:
    """Return `config` with the size of the screen where the output is to have it. Raises SinkError."""
    if config.output.size != "screen":
        return config
    from app.sinks.window.x11 import x11

    screen = x11()
    if screen is None:
        raise SinkError(
            "The size of the screen is not known",
            "no X server answers, which --output-size screen asks",
            "Start it in a desktop session, or give the size, such as --output-size 1920x1080.",
        )
    output = config.output.model_copy(update={"size": (screen.width, screen.height)})
    return config.model_copy(update={"output": output})


@dataclass(frozen=True)
class SessionContext:
    """What a session shares with the program, and with the sessions before and after it."""

    lifecycle: Lifecycle
    notifier: Notifier = field(default_factory=Notifier)
    window: PersistentWindow = field(default_factory=PersistentWindow)
    """A new configuration must not take the picture off the screen."""
    filenames: Filenames = field(default_factory=Filenames)
    known_cameras: KnownCameras = field(default_factory=KnownCameras)
    """A new configuration must find a camera that has moved under the old one."""


def run(config: Config, context: SessionContext) -> None:
    """Run one session, from the first frame to the last, and close everything it has opened, whatever happens.

    The window alone outlives it. Raises UserError.
    """
    with ExitStack() as stack:
        session = build(config, context, stack)
        log_event(log, logging.INFO, "session_started", "reading from %(source)s", source=session.source.name)
        with concluding(session.write_results):
            session.pipeline.run()


@dataclass(frozen=True)
class Session:
    """The parts of a session that are used after it was built."""

    config: Config
    source: Source
    pipeline: Pipeline
    stats: Stats
    storage: StorageSinks
    report: Report

    def write_results(self) -> None:
        """Finish the recordings, log what the session came to, and write --stats. Raises SinkError."""
        with concluding(self._write_figures):  # a recording that has failed has figures, too
            self.storage.finish()
        if self.config.output.headless:  # with a window the pictures were there to be looked at
            self.storage.raise_if_nothing_recorded()

    def _write_figures(self) -> None:
        message = "%(pictures)d pictures shown in %(seconds).1f s, %(fps).1f fps"
        pictures, seconds, fps = self.stats.shown, round(self.stats.seconds, 3), round(self.stats.fps(), 3)
        log_event(log, logging.INFO, "session_ended", message, pictures=pictures, seconds=seconds, fps=fps)
        if self.config.run.stats:
            save_figures(self.config.run.stats, self.report.as_dict(*self.storage.facts()))


def build(config: Config, context: SessionContext, stack: ExitStack) -> Session:
    """Build the parts of a session, which `stack` closes. Raises UserError."""

    def opened(part: P) -> P:
        """Close `part` at the end, even if a later part cannot be built: the next session needs its device."""
        return stack.enter_context(closing(part))

    config = with_screen_size(config)
    stats, due = Stats(), DueTime()
    output, lifecycle = config.output, context.lifecycle
    view = ViewState(
        split=output.view == "split",
        overlay=output.overlay,
        fullscreen=output.fullscreen,
        magnifier=config.kiosk.magnifier,
    )

    source = opened(open_input(config, context.known_cameras))
    telemetry = opened(Telemetry(config.telemetry))
    pacing = PacingPolicy(config, source, stats)
    governor = GovernorDriver(pacing.rate, lambda: telemetry.current, hot=config.telemetry.warn_temperature)

    fps, lossless = source.fps, pacing.lossless
    storage = opened(StorageSinks(config, view, context.filenames, stats, fps=fps, lossless=lossless))
    lifecycle.strength.value = config.engine.strength
    knob = StrengthKnob(lifecycle.strength, stats, view.say)
    actions = {"quit": lifecycle.end, "stronger": lambda: knob.turn(1), "weaker": lambda: knob.turn(-1)}
    actions |= storage.actions
    window = context.window.open(output, view, actions, locked=config.kiosk.lock_keys)
    report = Report(stats, source, telemetry, [source, governor, storage.segmented, window], governor, knob)
    watchdog = Watchdog(context.notifier, lifecycle.mark_working, report.status, lambda: due.at)

    recorded = config.recording.overlay
    overlays = build_overlays(
        config.kiosk, view, stats, report.lines, storage.recording, window=window is not None, recorded=recorded
    )
    auto = config.engine.name == "auto"
    screen = preview_screen = None
    if window is not None:
        screen = Screen(window, view, overlays.screen, copy=recorded)
        preview_screen = Screen(window, view, [screen_panel(view, report.lines)])
    preview = BuildPreview(view.say, preview_screen, preview_screen, auto=auto, output=expected_output(config, source))
    pipeline = Pipeline(
        source,
        engine_loader(config, source, stats, preview, governor, lifecycle.strength),
        stats,
        before=[*storage.before_overlays, knob],
        overlays=[*overlays.picture, *([screen] if screen is not None else []), *overlays.recording],
        after=[*storage.after_overlays, *([screen] if screen is not None else []), report, watchdog],
        lossless=lossless,
        paced=pacing.paced,
        limit=config.run.frames,
        duration=config.run.duration,
        stopping=lifecycle.stopping,
        observer=preview,
        due=due,
    )
    return Session(config, source, pipeline, stats, storage, report)


@contextmanager
def concluding(conclude: Callable[[], None]) -> Iterator[None]:
    """Call `conclude` after the `with` block, even if that fails; of two failures the block's is the one raised."""
    try:
        yield
    except BaseException:
        try:
            conclude()
        except UserError as second:
            log.warning("%s", second)
        raise
    conclude()
