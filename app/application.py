"""The program: arguments become a configuration, and sessions run under it until somebody ends them."""

from __future__ import annotations

import gc
import itertools
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from app.config import ineffective
from app.config.command_line import parse
from app.config.schema import RunConfig
from app.errors import ConfigError, SourceError
from app.lifecycle import Lifecycle, user_message
from app.preflight import check_model, checked
from engines.errors import UserError
from engines.support import event_log

log = logging.getLogger("livesr")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit status.

    0: it ended as asked; 1: it failed while running; 2: wrong usage or configuration; 130: Ctrl-C before a session.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    configure_log(early_options(arguments))  # for what is wrong with the arguments
    try:
        config, options = parse(arguments)
        configure_log(config.run)
        if options.print_config:
            check_model(config)  # but no files: checking them makes their folders
            print_out(config.as_yaml())
        elif options.list:
            from app.inventory import listing  # here and not at the top: only this needs all kinds of cameras

            print_out("\n".join(listing()) + "\n")
        else:
            file: Path | None = options.config
            checked(config, file)
            ineffective.warn(config, options.given)
            lifecycle = Lifecycle(config, lambda: checked(parse(arguments)[0], file), file=file is not None)
            lifecycle.listen()
            run_sessions(lifecycle)
    except UserError as error:
        report_failure(error)
        return 2 if isinstance(error, ConfigError) else 1
    except ModuleNotFoundError:
        raise  # what only some runs import is not installed: app.run says so
    except KeyboardInterrupt:  # before the lifecycle listens for signals, or while a list is made
        return 130
    except Exception as error:
        report_failure(error)
        return 1
    return 0


def run_sessions(lifecycle: Lifecycle) -> None:
    """Run a session, and another one after each reload, until the program is told to stop. Raises what ended it."""
    # Here and not at the top: --help, --list and wrong usage need no OpenCV and no FFmpeg.
    from app import session

    # What is imported stays: a collection that looked for garbage in it, too, would take 20 ms longer (measured on a
    # Xeon), and a picture may have to wait for it.
    gc.freeze()
    context = session.SessionContext(lifecycle)
    with closing(context.window):
        try:
            while True:
                config = lifecycle.config
                configure_log(config.run)
                try:
                    session.run(config, context)
                except Exception as error:  # even a fault of ours: the configuration before this one has worked
                    if lifecycle.ending and isinstance(error, SourceError):
                        break  # ended before the first picture, while a camera or stream was being waited for
                    if not lifecycle.next_run(error):
                        raise
                else:
                    if not lifecycle.next_run():
                        break
                context.notifier.reloading()
        finally:
            context.notifier.tell("STOPPING=1")


def early_options(arguments: Sequence[str]) -> RunConfig:
    """Read from the command line how to log, before it is known whether the command line is right."""
    spelled = "--log-format=json" in arguments or ("--log-format", "json") in itertools.pairwise(arguments)
    return RunConfig(verbose="--verbose" in arguments, log_format="json" if spelled else "text")


def configure_log(options: RunConfig) -> None:
    """Set how much is logged from now on, and in what format."""
    event_log.configure(options.log_level, options.log_format)
    logging.getLogger("linuxpy").setLevel(max(options.log_level, logging.WARNING))  # it logs every device it looks at


def report_failure(error: Exception) -> None:
    """Write what has ended the program to standard error, with --verbose where it happened, too."""
    verbose, ours = log.isEnabledFor(logging.DEBUG), not isinstance(error, UserError)
    if event_log.is_json():
        reason, fault = user_message(error), error if verbose else None
        event_log.log_event(log, logging.CRITICAL, "program_failed", "%(reason)s", reason=reason, exc_info=fault)
        return
    print(f"Error: {user_message(error)}", file=sys.stderr)
    if verbose:
        traceback.print_exception(error)
    elif ours:
        print("  --verbose shows where; please report it with that.", file=sys.stderr)


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
