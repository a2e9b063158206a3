"""Tempo: whether pictures are taken as they come, one by one in their own time, or as fast as the engine can."""

from __future__ import annotations

from app.config.schema import Config
from app.pipeline.stats import Stats
from app.sources import Source


class Tempo:
    """That of one run, as asked for; else live for a camera, a film's own, and fast where nobody looks."""

    def __init__(self, config: Config, source: Source, stats: Stats) -> None:
        """`stats` tell the rate of a live source that does not tell its own."""
        usual = "live" if source.live else "fast" if config.output.headless else "source"
        self._kind = usual if config.input.pace == "auto" else config.input.pace
        self._wanted, self._source, self._stats = config.governor.fps, source, stats

    @property
    def lossless(self) -> bool:
        """Whether each picture is waited for; of a live source the newest counts."""
        return self._kind != "live"

    @property
    def paced(self) -> bool:
        """Whether the pipeline has to hold pictures back until they are due; some sources do so themselves."""
        return self._kind != "fast" and not self._source.paced

    def rate(self) -> float:
        """The one to keep, in frames a second; 0: none is known.

        Measured only live: elsewhere pictures come as fast as they are taken.
        """
        if self._wanted or self._kind == "fast":
            return self._wanted or 0.0
        return self._source.fps or (self._stats.arrivals.steady() if self._kind == "live" else 0.0)
