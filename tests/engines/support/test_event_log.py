"""What a program that reads the log finds in it, and what people read."""

from __future__ import annotations

import io
import json
import logging
import math
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from engines.support import event_log
from engines.support.event_log import JsonFormatter, log_event


@pytest.fixture
def log() -> Iterator[tuple[logging.Logger, io.StringIO]]:
    """A logger, and what it has written as JSON."""
    written, logger = io.StringIO(), logging.getLogger("test.event_log")
    handler = logging.StreamHandler(written)
    handler.setFormatter(JsonFormatter())
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield logger, written
    logger.removeHandler(handler)


def test_an_event_is_one_line_with_typed_fields(log: tuple[logging.Logger, io.StringIO]) -> None:
    logger, written = log
    message = "%(source)s is back\nafter %(away_s).1f s"
    log_event(logger, logging.WARNING, "source_back", message, source="camera 0", away_s=2.34, path=Path("a/b"))
    line = json.loads(written.getvalue())
    assert written.getvalue().count("\n") == 1
    assert line | {"time": ""} == {
        "time": "",
        "level": "warning",
        "logger": "test.event_log",
        "event": "source_back",
        "message": "camera 0 is back\nafter 2.3 s",
        "source": "camera 0",
        "away_s": 2.34,
        "path": "a/b",
    }
    at = datetime.fromisoformat(line["time"])
    assert at.utcoffset() is not None and abs(datetime.now(timezone.utc) - at) < timedelta(minutes=5)


def test_a_field_does_not_hide_what_every_line_has(log: tuple[logging.Logger, io.StringIO]) -> None:
    logger, written = log
    log_event(logger, logging.INFO, "named", "100 %% of %(level)s", level=3)
    line = json.loads(written.getvalue())
    assert (line["level"], line["message"]) == ("info", "100 % of 3")


def test_other_lines_have_no_event_and_a_traceback_stays_on_the_line(
    log: tuple[logging.Logger, io.StringIO],
) -> None:
    logger, written = log
    logger.info("%s of %d", "one", 2)
    try:
        raise ValueError("no number")
    except ValueError as error:
        log_event(logger, logging.ERROR, "failed", "%(reason)s", reason="why", exc_info=error)
    first, second = map(json.loads, written.getvalue().splitlines())
    assert (first["event"], first["message"]) == (None, "one of 2")
    assert second["event"] == "failed" and "ValueError: no number" in second["exception"]


def test_an_event_may_have_no_fields(log: tuple[logging.Logger, io.StringIO]) -> None:
    logger, written = log
    log_event(logger, logging.INFO, "nothing_more", "that is all")
    assert json.loads(written.getvalue())["message"] == "that is all"


def test_people_read_the_same_words(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        log_event(logging.getLogger("x"), logging.INFO, "done", "recorded %(frames)d frames", frames=3)
    assert caplog.messages == ["recorded 3 frames"]


def test_a_number_that_json_cannot_say_is_null(log: tuple[logging.Logger, io.StringIO]) -> None:
    logger, written = log
    log_event(logger, logging.INFO, "measured", "%(psnr_db)g dB", psnr_db=math.inf, other=math.nan, fine=1.5)

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    line = json.loads(written.getvalue(), parse_constant=refuse)
    assert (line["message"], line["psnr_db"], line["other"], line["fine"]) == ("inf dB", None, None, 1.5)


@pytest.mark.integration
def test_what_python_writes_by_itself_is_json_as_well() -> None:
    program = (
        "import threading, warnings; from engines.support import event_log;"
        "event_log.configure(20, 'json'); warnings.warn('old');"
        "thread = threading.Thread(target=lambda: 1 / 0, name='reader'); thread.start(); thread.join();"
        "event_log.configure(20, 'text'); warnings.warn('as text again')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    warning, failure = map(json.loads, done.stderr.splitlines()[:2])
    assert (warning["level"], warning["logger"]) == ("warning", "py.warnings") and "old" in warning["message"]
    assert (failure["event"], failure["thread"]) == ("thread_failed", "reader")
    assert "division by zero" in failure["message"] and "ZeroDivisionError" in failure["exception"]
    assert "as text again" in done.stderr.splitlines()[2]


@pytest.mark.integration
def test_a_child_process_writes_as_its_parent_does() -> None:
    program = (
        "import json, sys, logging; from engines.support import event_log;"
        "event_log.configure(**json.loads(sys.argv[1])); print(json.dumps(event_log.settings()));"
        "logging.getLogger('a').debug('hidden'); logging.getLogger('a').info('shown')"
    )
    for log_format in ("json", "text"):
        settings = {"level": logging.INFO, "log_format": log_format}
        done = subprocess.run(
            [sys.executable, "-c", program, json.dumps(settings)], capture_output=True, text=True, check=True
        )
        assert json.loads(done.stdout) == settings
        (line,) = done.stderr.splitlines()
        assert ("shown" in line) and (line.startswith("{") == (log_format == "json"))


def test_only_the_programs_own_handler_is_given_another_format(caplog: pytest.LogCaptureFixture) -> None:
    before = caplog.handler.formatter, logging.getLogger().level
    event_log.configure(before[1], "json")
    assert caplog.handler.formatter is before[0]
