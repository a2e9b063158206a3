"""The program: arguments become a configuration, and sessions run under it until somebody ends them."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from app.config import ineffective
from app.config.command_line import parse
from app.errors import ConfigError, SourceError
from app.inventory import listing
from app.lifecycle import Lifecycle, user_message
from app.preflight import check_model, checked
from app.system.malloc_trim import HeapTrimmer
from app.system.systemd import Notifier
from engines.errors import UserError

log = logging.getLogger("livesr")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit status.

    0: it ended as asked; 1: it failed while running; 2: wrong usage or configuration; 130: Ctrl-C before a session.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    set_log_level(verbose="--verbose" in arguments, quiet=False)
    try:
        config, options = parse(arguments)
        set_log_level(verbose=config.run.verbose, quiet=config.run.quiet)
        if options.print_config:
            check_model(config)  # but no files: checking them makes their folders
            print_out(config.as_yaml())
        elif options.list:
            print_out("\n".join(listing()) + "\n")
        else:
            file: Path | None = options.config
            checked(config, file)
            ineffective.warn(config, options.given)
            lifecycle = Lifecycle(config, lambda: checked(parse(arguments)[0], file), file=file is not None)
            lifecycle.listen()
            with closing(HeapTrimmer()):
                run_sessions(lifecycle)
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        if log.isEnabledFor(logging.DEBUG):
            traceback.print_exc()
        return 2 if isinstance(error, ConfigError) else 1
    except KeyboardInterrupt:  # before the lifecycle listens for signals, or while a list is made
        return 130
    except Exception as error:
        print(f"Error: {user_message(error)}", file=sys.stderr)
        if log.isEnabledFor(logging.DEBUG):
            traceback.print_exc()
        else:
            print("  --verbose shows where; please report it with that.", file=sys.stderr)
        return 1
    return 0


def run_sessions(lifecycle: Lifecycle) -> None:
    """Run a session, and another one after each reload, until the program is told to stop. Raises what ended it."""
    # Here and not at the top: --help, --list and wrong usage need no OpenCV and no FFmpeg.
    from app import session
    from app.sinks.window import PersistentWindow

    notifier = Notifier()
    with closing(PersistentWindow()) as window:
        try:
            while True:
                config = lifecycle.config
                set_log_level(verbose=config.run.verbose, quiet=config.run.quiet)
                try:
                    session.run(config, lifecycle, notifier, window)
                except Exception as error:  # even a fault of ours: the configuration before this one has worked
                    if lifecycle.ending and isinstance(error, SourceError):
                        break  # ended before the first picture, while a camera or stream was being waited for
                    if not lifecycle.again(error):
                        raise
                else:
                    if not lifecycle.again():
                        break
                notifier.reloading()
        finally:
            notifier.tell("STOPPING=1")


def set_log_level(*, verbose: bool, quiet: bool) -> None:
    """Set how much is logged from now on."""
    level = logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO
    logging.getLogger("linuxpy").setLevel(max(level, logging.WARNING))  # it logs every device it looks at
    logging.getLogger().setLevel(level)


def print_out(text: str) -> None:
    """Print to standard output. Raises UserError if that is full or closed."""
    try:
        print(text, end="", flush=True)
    except OSError as error:
        with Path(os.devnull).open("w") as nowhere:  # takes what is still buffered, which would fail again at exit
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        raise UserError(
            "Standard output cannot be written",
            error.strerror or str(error),
            "Make room on the disk, or let the reading program read to the end.",
        ) from None
