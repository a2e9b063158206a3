"""The log of a training run, and how a run writes its files."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from engines.errors import UserError
from engines.support import atomic_file

OTHER_OUT_FIX = "Give another --out, or delete it."


class TrainError(UserError):
    """A run cannot begin or continue."""


def store(path: Path, data: bytes) -> None:
    """Write `data` whole or not at all. Raises TrainError."""
    try:
        atomic_file.write_atomic(path, data)
    except OSError as error:  # that of a full disk does not name the file
        raise TrainError(
            f"{path} cannot be written",
            error.strerror or str(error),
            "Fix that; the same command then continues the run.",
        ) from None


class RunLog:
    """Writes log.csv, a line for every checkpoint, and its plot log.svg.

    The columns are step, seconds, loss, then dB for each test set.

    Seconds count from when this is made, before the photographs are read, and include those of earlier parts of the
    run.
    """

    def __init__(self, out: Path, tests: Sequence[Path]) -> None:
        """Read an existing log. Raises TrainError if it was written for other test sets."""
        self.file, self.picture = out / "log.csv", out / "log.svg"
        self.names = ["step", "seconds", "loss", *(test.name for test in tests)]
        self.rows = self._read() if self.file.exists() else []
        self._before, self._started = 0.0, time.monotonic()

    def resume(self, step: int) -> None:
        """Continue after `step`; what an interrupted run logged later is dropped."""
        self.rows = [row for row in self.rows if int(row[0]) <= step]
        self._before = float(self.rows[-1][1]) if self.rows else 0.0

    def write(self, step: int, loss: float, figures: Sequence[float]) -> None:
        """Append a line and write both files. Raises TrainError."""
        seconds = round(self._before + time.monotonic() - self._started)
        self.rows.append([str(step), str(seconds), f"{loss:.6f}", *(f"{f:.3f}" for f in figures)])
        text = io.StringIO(newline="")
        csv.writer(text).writerows([self.names, *self.rows])
        store(self.file, text.getvalue().encode())
        store(self.picture, self._plot())

    def _read(self) -> list[list[str]]:
        text = self.file.read_text(encoding="utf-8", errors="replace")
        lines = list(csv.reader(text.splitlines(keepends=True)))
        if lines and not text.endswith("\n"):
            del lines[-1]  # half a line, of a run that was killed while writing it
        rows = [row for row in lines[1:] if len(row) == len(lines[0])]
        if rows and lines[0] != self.names:
            raise TrainError(
                f"{self.file} was written for other test sets",
                f"it has {', '.join(lines[0])}; this run would write {', '.join(self.names)}",
                f"Give --eval the same sets in the same order. Or: {OTHER_OUT_FIX[0].lower()}{OTHER_OUT_FIX[1:]}",
            )
        return rows

    def _plot(self) -> bytes:
        steps, buffer = [int(row[0]) for row in self.rows], io.BytesIO()
        columns = range(self.names.index("loss"), len(self.names))
        figure = Figure(figsize=(8, 2.5 * len(columns)), layout="constrained")
        for axes, column in zip(figure.subplots(len(columns), squeeze=False)[:, 0], columns, strict=True):
            name = self.names[column]
            axes.plot(steps, [float(row[column]) for row in self.rows], marker=".")
            axes.set(xlabel="step", ylabel=name if name == "loss" else f"{name}, dB")
            axes.grid(alpha=0.3)
        figure.savefig(buffer, format="svg")
        return buffer.getvalue()
