"""What visitors read. Under the picture, what they see; over it, why it is not the camera's just now."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2

from app.overlays.font import CaptionFont
from app.overlays.text_panel import TextPanel, letter
from app.overlays.texts import Texts
from app.pipeline.frame import Origin, OutputFrame

DIM = 0.35
"""What is left of the brightness of a picture that is held."""


class Caption:
    """Draws into the picture. Held pictures are dimmed, the attract loop is labelled, in every language asked for."""

    stage = "overlay"

    def __init__(
        self, texts: Sequence[Texts], letters: CaptionFont, *, degraded: Callable[[], bool] = lambda: False
    ) -> None:
        """`degraded`: whether the engine is away. Raises ConfigError if the font lacks a character."""
        self._texts, self._letters, self._degraded = texts, letters, degraded
        for one in texts:
            letters.check("".join(vars(one).values()), f"the text {one.caption[:20]!r}...")
        self._panels: dict[tuple[object, ...], TextPanel] = {}

    def write(self, picture: OutputFrame) -> None:
        image = picture.image
        height, width = image.shape[:2]
        gap, origin = letter(height), picture.frame.origin
        if origin is Origin.HELD:
            cv2.convertScaleAbs(image, image, DIM)
        if not self._texts:
            return
        scale = width // picture.frame.image.shape[1]
        low = self._panel([text.caption.replace("{times}", str(scale**2)) for text in self._texts], gap, width)
        low.draw(image, (width - low.size[0]) // 2, height - low.size[1] - gap // 2)
        if origin is Origin.HELD:
            message = self._panel([text.waiting for text in self._texts], 2 * gap, width)
            message.draw(image, (width - message.size[0]) // 2, (height - message.size[1]) // 2)
        elif origin is Origin.ATTRACT or self._degraded():
            name = "attract" if origin is Origin.ATTRACT else "fallback"
            message = self._panel([getattr(text, name) for text in self._texts], gap, width)
            message.draw(image, (width - message.size[0]) // 2, height - low.size[1] - message.size[1] - gap)

    def _panel(self, lines: list[str], height: int, width: int) -> TextPanel:
        key = (*lines, height, width)
        if key not in self._panels:
            if len(self._panels) > 16:  # sizes that came and went
                self._panels.clear()
            self._panels[key] = self._letters.panel(lines, height=height, width=width - 2 * height)
        return self._panels[key]

    def idle(self) -> None:
        pass

    def close(self) -> None:
        pass
