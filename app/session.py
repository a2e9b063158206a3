"""One session: build the source, the engine, the overlays and the sinks; run the pipeline; write the results."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from typing import Protocol, TypeVar

from app import report
from app.config.schema import Config
from app.engine_request import engine_loader, expected_scale
from app.governor.driver import GovernorDriver
from app.lifecycle import Lifecycle
from app.overlays.stack import build_overlays
from app.overlays.view_state import ViewState
from app.pipeline.build_preview import BuildPreview
from app.pipeline.pacing import PacingPolicy
from app.pipeline.pipeline import Pipeline
from app.pipeline.protocols import Source
from app.pipeline.stats import Stats
from app.sinks.storage import StorageSinks
from app.sinks.window import PersistentWindow
from app.sources import open_source
from app.system.systemd import Notifier, Watchdog
from app.system.telemetry import Telemetry
from app.uri import comes_and_goes
from engines.errors import UserError

log = logging.getLogger("livesr")


class Closable(Protocol):
    """A part that a session opens and closes."""

    def close(self) -> None: ...


P = TypeVar("P", bound=Closable)


def open_input(config: Config) -> Source:
    """Return the source that the configuration names, which may come and go. Raises SourceError."""
    source, kiosk = config.input, config.kiosk
    options = source.model_dump(include={"camera", "source", "size", "fps"})
    if kiosk.reconnect and comes_and_goes(source.camera, source.source):
        from app.sources.reconnecting.factory import open_lasting

        return open_lasting(**options, **kiosk.model_dump(include={"attract", "attract_after", "frozen_after"}))
    return open_source(**options, loop=source.loop)


def run(config: Config, lifecycle: Lifecycle, notifier: Notifier, window: PersistentWindow) -> None:
    """Run one session, from the first frame to the last, and close everything it has opened, whatever happens.

    The window alone outlives it: a new configuration must not take the picture off the screen. Raises UserError.
    """
    stats = Stats()
    output = config.output
    view = ViewState(compare=output.view == "split", overlay=output.overlay, fullscreen=output.fullscreen)
    with ExitStack() as stack:

        def opened(part: P) -> P:
            """Close `part` at the end, even if a later part cannot be built: the next session needs its device."""
            return stack.enter_context(closing(part))

        source = opened(open_input(config))
        telemetry = opened(Telemetry(config.telemetry))
        pacing = PacingPolicy(config, source, stats)
        governor = GovernorDriver(pacing.rate, lambda: telemetry.current, hot=config.telemetry.warn_temperature)
        storage = opened(StorageSinks(config, view, fps=source.fps, lossless=pacing.lossless))
        actions = {"quit": lifecycle.end, **storage.actions}
        windows = window.open(output, view, actions, locked=config.kiosk.lock_keys)
        figures = report.Report(stats, source, telemetry, [source, governor, *storage.archives, *windows], governor)
        drawn = config.recording.overlay or not output.headless
        shown = [opened(part) for part in build_overlays(config.kiosk, view, figures.lines, stats)] if drawn else []
        # Of what draws, only the figures' panel, where it says how far a build has come.
        preview = BuildPreview(
            view, [*shown[-1:], *windows], auto=config.engine.name == "auto", scale=expected_scale(config, source)
        )
        watchdog = Watchdog(notifier, lifecycle.shown, figures.status, lambda: pipeline.due)
        pipeline = Pipeline(
            source,
            engine_loader(config, source, stats, preview, governor),
            [*storage.around(shown), *windows, opened(figures), opened(watchdog)],
            stats,
            lossless=pacing.lossless,
            paced=pacing.paced,
            limit=config.run.frames,
            duration=config.run.duration,
            stopping=lifecycle.stopping,
            loading=preview,
        )
        log.info("from %s", source.name)
        with concluding(partial(write_results, config, stats, storage, figures)):
            pipeline.run()


def write_results(config: Config, stats: Stats, storage: StorageSinks, figures: report.Report) -> None:
    """Finish the recordings, log what the session came to, and write --stats. Raises SinkError."""

    def write_figures() -> None:
        log.info("%d pictures shown in %.1f s, %.1f fps", stats.shown, stats.seconds, stats.fps())
        if config.run.stats:
            report.save(config.run.stats, figures.as_dict(*storage.facts()))

    with concluding(write_figures):  # a recording that has failed has figures, too
        storage.finish()
    if config.output.headless:  # with a window the pictures were there to be looked at
        storage.insist()


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
