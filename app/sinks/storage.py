"""What is kept of a session: the recording, the segments, snapshots."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any

from app.config.schema import Config
from app.overlays.view_state import ViewState
from app.pipeline.protocols import Sink
from app.pipeline.stats import Stats
from app.sinks.filenames import Filenames
from app.sinks.snapshot import Snapshot

if TYPE_CHECKING:
    from app.sinks.recording.on_demand import OnDemandRecorder
    from app.sinks.recording.segmented import SegmentedRecorder


class StorageSinks:
    """The sinks that keep pictures. Whoever has made this object closes it.

    A recorder is imported with the session that may record, not with the first recording: that would hold up the
    picture. A run that records nothing loads no FFmpeg for it.
    """

    def __init__(
        self, config: Config, view: ViewState, filenames: Filenames, stats: Stats, *, fps: float, lossless: bool
    ) -> None:
        """Build what `config` asks for; `filenames` knows what earlier sessions have written. Raises SinkError.

        `stats` say when a picture is no model's. `fps`: the source's nominal rate, 0 if unknown; `lossless`: no picture
        may be missing in a recording.
        """
        recording = config.recording
        with ExitStack() as stack:
            self._on_demand: OnDemandRecorder | None = None
            if recording.file is not None or not config.output.headless:  # a window has the key r
                from app.sinks.recording.on_demand import OnDemandRecorder

                self._on_demand = stack.enter_context(
                    closing(OnDemandRecorder(recording, view, filenames, fps=fps, lossless=lossless))
                )
            self.segmented: SegmentedRecorder | None = None
            if recording.segmented:
                from app.sinks.recording.segmented import SegmentedRecorder

                self.segmented = stack.enter_context(closing(SegmentedRecorder(recording, fps=fps, lossless=lossless)))
            self._snapshot = stack.enter_context(
                closing(
                    Snapshot(
                        recording.folder,
                        view,
                        filenames,
                        file=config.output.snapshot,
                        interpolated=lambda: stats.interpolated,
                    )
                )
            )
            self._opened = stack.pop_all()
        recorders: list[Sink] = [part for part in (self._on_demand, self.segmented) if part is not None]
        # A snapshot is always of the pure picture, a recording only where it is not to have the overlays.
        self.before_overlays: Sequence[Sink] = [self._snapshot, *([] if recording.overlay else recorders)]
        self.after_overlays: Sequence[Sink] = recorders if recording.overlay else []

    @property
    def actions(self) -> Mapping[str, Callable[[], None]]:
        """What keys can ask for."""
        record = {"record": self._on_demand.toggle} if self._on_demand is not None else {}
        return {**record, "snapshot": self._snapshot.request}

    def recording(self) -> bool:
        """Return whether pictures are being recorded now."""
        running = self._on_demand is not None and self._on_demand.running
        return running or (self.segmented is not None and self.segmented.running)

    def finish(self) -> None:
        """End what is being recorded; only then are its figures final. Raises SinkError."""
        try:
            if self._on_demand is not None:
                self._on_demand.close()
        finally:
            if self.segmented is not None:
                self.segmented.close()

    def facts(self) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
        """Return the figures of every recording, and of the segments if there are any, for --stats."""
        recordings = self._on_demand.facts() if self._on_demand is not None else []
        return recordings, self.segmented.facts() if self.segmented is not None else None

    def raise_if_nothing_recorded(self) -> None:
        """Raise SinkError if pictures came and the segments have kept none of them. Call it after finish()."""
        if self.segmented is not None:
            self.segmented.raise_if_nothing_recorded()

    def close(self) -> None:
        """Close all sinks. Idempotent. Raises SinkError."""
        self._opened.close()
