"""Live super-resolution: python -m app.run [options]. --help lists them."""

from __future__ import annotations

import importlib.util
import logging
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from contextlib import ExitStack, closing
from types import FrameType

from app import report
from app.config import Config, ConfigError
from app.listing import listing
from app.options import parse
from engines.base import UserError

log = logging.getLogger("livesr")


def run(config: Config, stopping: threading.Event) -> None:
    """One run, from the first frame to the last. Everything that was opened is closed, whatever happens."""
    # Here and not at the top: --help, --list and wrong usage need no OpenCV and no FFmpeg.
    from app.loading import Loading
    from app.overlay import Overlay
    from app.pipeline import Pipeline
    from app.sinks import Sink
    from app.sinks.recording import Recording
    from app.sinks.window import Window
    from app.snapshot import Snapshot
    from app.sources import open_source
    from app.stats import Stats
    from app.telemetry import Telemetry
    from app.view import View
    from app.wipe import Wipe
    from engines import load
    from engines.connection import Options

    wanted, output = config.input, config.output
    stats, view = Stats(), View(compare=output.view == "compare", overlay=output.overlay, fullscreen=output.fullscreen)
    with ExitStack() as stack:

        def opened(sink: Sink) -> Sink:
            return stack.enter_context(closing(sink))

        source = stack.enter_context(
            closing(open_source(**wanted.model_dump(include={"camera", "source", "size", "fps", "loop"})))
        )
        pace = (
            wanted.pace if wanted.pace != "auto" else "live" if source.live else "fast" if output.headless else "source"
        )
        lossless = pace != "live"
        telemetry = stack.enter_context(closing(Telemetry()))
        figures = report.Report(stats, source, telemetry)
        recording = Recording(config.recording, view, fps=source.fps, lossless=lossless)
        snapshot = Snapshot(config.recording.folder, view, file=output.snapshot)
        shown: list[Sink] = [] if output.headless else [Wipe(view), Overlay(view, figures.lines)]
        actions = {"quit": stopping.set, "record": recording.toggle, "snapshot": snapshot.request}
        window: list[Sink] = [] if output.headless else [Window("Live super-resolution", view, actions)]
        order: list[Sink] = [snapshot, *shown, recording] if config.recording.overlay else [snapshot, recording, *shown]
        sinks = [opened(sink) for sink in (*order, *window, figures)]
        loading = Loading(view, [*shown[1:], *window], auto=config.engine.name == "auto")
        pipeline = Pipeline(
            source,
            lambda size: load(
                config.engine.name,
                config.engine.model,
                size,
                **config.engine.model_dump(include={"depth", "threads", "memory", "dla", "profile", "fallback"}),
                scale=stats.spec.scale if stats.spec else 2,
                without=loading.failed,
                progress=loading.progress,
                options=Options(**dict(config.triton)),
                patience=config.engine.patience / 1000,
                # A server that has been there before is waited for.
                strict=config.engine.start == "strict" and stats.spec is None,
            ),
            sinks,
            stats,
            lossless=lossless,
            paced=pace != "fast" and not source.paced,
            limit=config.run.frames,
            duration=config.run.duration,
            stopping=stopping,
            loading=loading,
        )
        log.info("from %s", source.name)
        try:
            pipeline.run()
        finally:
            recording.close()
            log.info("%d pictures shown in %.1f s, %.1f fps", stats.shown, stats.seconds, stats.fps())
            if config.run.stats:
                report.save(config.run.stats, figures.as_dict(recording.facts()))


def stop_on_signals(stopping: threading.Event) -> None:
    """SIGINT and SIGTERM end the run like the key q does. A second one ends the program at once."""

    def handler(number: int, _frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        # Not set() from here: the handler may have interrupted the holder of the event's lock.
        threading.Thread(target=stopping.set, daemon=True).start()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handler)


def start_logging(*, verbose: bool, quiet: bool) -> None:
    level = logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO
    logging.basicConfig(level=level, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)


def main(arguments: Sequence[str] | None = None) -> int:
    """0: ended as asked; 1: failed while running; 2: wrong usage or configuration."""
    arguments = sys.argv[1:] if arguments is None else arguments
    verbose = "--verbose" in arguments
    try:
        config, asked = parse(arguments)
        verbose = config.run.verbose
        start_logging(verbose=verbose, quiet=config.run.quiet)
        if asked.print_config:
            print(config.as_yaml(), end="")
        elif asked.list:
            print(*listing(), sep="\n")
        else:
            check(config)
            stopping = threading.Event()
            stop_on_signals(stopping)
            run(config, stopping)
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        if verbose:
            traceback.print_exc()
        return 2 if isinstance(error, ConfigError) else 1
    except Exception as error:
        print(f"Error: this should not have happened: {type(error).__name__}: {error}", file=sys.stderr)
        print("  " + ("" if verbose else "--verbose shows where; please report it with that."), file=sys.stderr)
        if verbose:
            traceback.print_exc()
        return 1
    return 0


def check(config: Config) -> None:
    """Refuse now what would fail after hours. Raises ConfigError."""
    if importlib.util.find_spec("cv2") is None:
        raise ConfigError(
            "OpenCV is not installed",
            f"{sys.executable} has no module cv2",
            "./scripts/run installs it. By hand: pip install opencv-python; on a Jetson, where the system has one, "
            "make the environment with python3 -m venv --system-site-packages.",
        )
    if config.run.stats:
        report.check_writable(config.run.stats)


if __name__ == "__main__":
    sys.exit(main())
