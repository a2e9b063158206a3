"""Live super-resolution: python -m app.run [options]. --help lists them."""

from __future__ import annotations

if __name__ == "__main__":  # before the imports below, which take a while
    from app.entry import enter

    enter()

import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from app import report
from app.config import ineffective
from app.config.command_line import parse
from app.config.schema import Config
from app.errors import ConfigError, SourceError
from app.inventory import listing
from app.lifecycle import Lifecycle, user_message
from app.preflight import check_model, checked
from app.system.malloc_trim import HeapTrimmer
from app.system.systemd import Notifier, Watchdog
from engines.errors import UserError

if TYPE_CHECKING:
    from app.pipeline.stats import Stats
    from app.sinks.storage import StorageSinks
    from app.sinks.window import WindowSink


class Part(Protocol):
    """What a run opens and closes."""

    def close(self) -> None: ...


P = TypeVar("P", bound=Part)

log = logging.getLogger("livesr")


def run(config: Config, control: Lifecycle, notifier: Notifier, windows: list[WindowSink]) -> None:
    """One run, from the first frame to the last. Everything that was opened is closed, whatever happens.

    The window alone outlives it, in `windows`: a new configuration must not take the picture off the screen.
    """
    # Here and not at the top: --help, --list and wrong usage need no OpenCV and no FFmpeg.
    from app.governor.driver import GovernorDriver
    from app.inputs import engine_for, opened_input, scale_for
    from app.overlays.stack import build_overlays
    from app.overlays.view_state import ViewState
    from app.pipeline.build_preview import BuildPreview
    from app.pipeline.pacing import PacingPolicy
    from app.pipeline.pipeline import Pipeline
    from app.pipeline.stats import Stats
    from app.sinks.storage import StorageSinks
    from app.sinks.window import open_window
    from app.system.telemetry import Telemetry

    output = config.output
    set_level(verbose=config.run.verbose, quiet=config.run.quiet)
    stats, view = (
        Stats(),
        ViewState(compare=output.view == "split", overlay=output.overlay, fullscreen=output.fullscreen),
    )
    with ExitStack() as stack:

        def opened(part: P) -> P:
            """Closed at the end, be it that the rest cannot be had: what a next run needs is not held on to."""
            return stack.enter_context(closing(part))

        source = opened(opened_input(config))
        telemetry = opened(Telemetry(config.telemetry))
        tempo = PacingPolicy(config, source, stats)
        steering = GovernorDriver(tempo.rate, lambda: telemetry.current, hot=config.telemetry.warn_temperature)
        keeping = opened(StorageSinks(config, view, fps=source.fps, lossless=tempo.lossless))
        actions = {"quit": control.end, **keeping.actions}
        window = open_window(windows, output, view, actions, locked=config.kiosk.lock_keys)
        figures = report.Report(stats, source, telemetry, [source, steering, *keeping.archives, *window], steering)
        drawn = config.recording.overlay or not output.headless
        shown = [opened(one) for one in build_overlays(config.kiosk, view, figures.lines, stats)] if drawn else []
        # Of what draws, only the figures' panel, where it says how far a build has come.
        loading = BuildPreview(view, [*shown[-1:], *window], auto=config.engine.name == "auto", scale=scale_for(config))
        progress = Watchdog(notifier, control.shown, figures.status, lambda: pipeline.due)
        pipeline = Pipeline(
            source,
            engine_for(config, source, stats, loading, steering),
            [*keeping.around(shown), *window, opened(figures), opened(progress)],
            stats,
            lossless=tempo.lossless,
            paced=tempo.paced,
            limit=config.run.frames,
            duration=config.run.duration,
            stopping=control.stopping,
            loading=loading,
        )
        log.info("from %s", source.name)
        with concluded(partial(conclude, config, stats, keeping, figures)):
            pipeline.run()


def conclude(config: Config, stats: Stats, keeping: StorageSinks, figures: report.Report) -> None:
    """Finish what was recorded, and tell what the run came to. Raises SinkError."""

    def tell() -> None:
        log.info("%d pictures shown in %.1f s, %.1f fps", stats.shown, stats.seconds, stats.fps())
        if config.run.stats:
            report.save(config.run.stats, figures.as_dict(*keeping.facts()))

    with concluded(tell):  # a recording that has failed has figures, too
        keeping.finish()
    if config.output.headless:  # else it was there to be looked at
        keeping.insist()


@contextmanager
def concluded(conclusion: Callable[[], None]) -> Iterator[None]:
    """Draws it after what stands under `with`, also if that fails; of two failures the first is the one to tell."""
    try:
        yield
    except BaseException:
        try:
            conclusion()
        except UserError as second:
            log.warning("%s", second)
        raise
    conclusion()


def runs(control: Lifecycle) -> None:
    """A run, and another after each SIGHUP with a configuration that works."""
    notifier = Notifier()
    windows: list[WindowSink] = []
    try:
        while True:
            try:
                run(control.config, control, notifier, windows)
            except Exception as error:  # a fault of this program, too: with the configuration before it has worked
                if control.ending and isinstance(error, SourceError):
                    break  # it was ended before there was a picture, while a camera or stream was waited for
                if not control.again(error):
                    raise
            else:
                if not control.again():
                    break
            notifier.reloading()
    finally:
        notifier.tell("STOPPING=1")
        for window in windows:
            window.close()


def set_level(*, verbose: bool, quiet: bool) -> None:
    """How much the log tells from now on."""
    level = logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO
    logging.getLogger("linuxpy").setLevel(max(level, logging.WARNING))  # it tells of every device it looks at
    logging.getLogger().setLevel(level)


def say(text: str) -> None:
    """To standard output. Raises UserError where that is full or closed."""
    try:
        print(text, end="", flush=True)
    except OSError as error:
        with Path(os.devnull).open("w") as nowhere:  # for what is left of it, which would be tried again at the end
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        raise UserError(
            "Standard output cannot be written",
            error.strerror or str(error),
            "Make room on the disk, or let who reads it read to the end.",
        ) from None


def main(arguments: Sequence[str] | None = None) -> int:
    """0: ended as asked; 1: failed while running; 2: wrong usage or configuration."""
    arguments = sys.argv[1:] if arguments is None else arguments
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    set_level(verbose="--verbose" in arguments, quiet=False)
    try:
        config, asked = parse(arguments)
        set_level(verbose=config.run.verbose, quiet=config.run.quiet)
        if asked.print_config:
            check_model(config)  # and no files, which would make their folders
            say(config.as_yaml())
        elif asked.list:
            say("\n".join(listing()) + "\n")
        else:
            file: Path | None = asked.config
            checked(config, file)
            ineffective.warn(config, asked.given)
            control = Lifecycle(config, lambda: checked(parse(arguments)[0], file), file=file is not None)
            control.listen()
            with closing(HeapTrimmer()):
                runs(control)
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        if log.isEnabledFor(logging.DEBUG):
            traceback.print_exc()
        return 2 if isinstance(error, ConfigError) else 1
    except KeyboardInterrupt:  # before Control listens, or while a list is made
        return 130
    except Exception as error:
        print(f"Error: {user_message(error)}", file=sys.stderr)
        if log.isEnabledFor(logging.DEBUG):
            traceback.print_exc()
        else:
            print("  --verbose shows where; please report it with that.", file=sys.stderr)
        return 1
    return 0
