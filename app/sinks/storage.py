"""What stays of a run: the recording, the archive of segments, snapshots."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from typing import Any

from app.config.schema import Config
from app.overlays.view_state import ViewState
from app.pipeline.protocols import Sink
from app.sinks.recording.on_demand import OnDemandRecorder
from app.sinks.recording.segmented import SegmentedRecorder
from app.sinks.snapshot import Snapshot


class StorageSinks:
    """The sinks that keep pictures. Whoever made it closes it; one that cannot be had is no reason to hold the rest."""

    def __init__(self, config: Config, view: ViewState, *, fps: float, lossless: bool) -> None:
        """Raises SinkError."""
        asked = config.recording
        self._with_overlay = asked.overlay
        with ExitStack() as stack:
            self._recording = stack.enter_context(closing(OnDemandRecorder(asked, view, fps=fps, lossless=lossless)))
            self.archives = [SegmentedRecorder(asked, fps=fps, lossless=lossless)] if asked.segmented else []
            """At most one."""
            for archive in self.archives:
                stack.enter_context(closing(archive))
            self._snapshot = stack.enter_context(closing(Snapshot(asked.folder, view, file=config.output.snapshot)))
            self._opened = stack.pop_all()

    @property
    def actions(self) -> Mapping[str, Callable[[], None]]:
        """What keys can ask for."""
        return {"record": self._recording.toggle, "snapshot": self._snapshot.request}

    def around(self, drawn: Sequence[Sink]) -> list[Sink]:
        """These sinks and those that draw, in the order in which they take a picture."""
        recorded: list[Sink] = [self._recording, *self.archives]
        # A snapshot is of the pure picture, a recording only where its overlay is not asked for.
        return [self._snapshot, *drawn, *recorded] if self._with_overlay else [self._snapshot, *recorded, *drawn]

    def finish(self) -> None:
        """End what is being recorded; what it came to is known then. Raises SinkError."""
        try:
            self._recording.close()
        finally:
            for archive in self.archives:
                archive.close()

    def facts(self) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
        """Of every recording, and of the archive if there is one."""
        return self._recording.facts(), next((archive.facts() for archive in self.archives), None)

    def insist(self) -> None:
        """After finish(): raise SinkError if pictures came and an archive kept none of them."""
        for archive in self.archives:
            archive.insist()

    def close(self) -> None:
        """Let go of everything. Idempotent. Raises SinkError."""
        self._opened.close()
