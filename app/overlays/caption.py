"""What visitors read: a caption under the picture, and over it why it is not the camera's just now."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2

from app.overlays.font import CaptionFont
from app.overlays.text_panel import PanelCache, TextHeight, TextPanel, cap_height
from app.overlays.texts import Texts
from app.pipeline.frame import Origin, OutputFrame

HELD_BRIGHTNESS = 0.35
"""Share of its brightness that a held picture keeps."""


class Caption:
    """An overlay for visitors, in every language asked for: held pictures are dimmed, the attract loop is labelled."""

    def __init__(
        self,
        texts: Sequence[Texts],
        font: CaptionFont,
        *,
        interpolated: Callable[[], bool] = lambda: False,
        text_height: TextHeight = cap_height,
    ) -> None:
        """Draw `texts` in `font`, in letters of `text_height`.

        `interpolated` says whether the picture is bicubic in place of a model's. Raises ConfigError if the font lacks a
        character.
        """
        self._texts, self._interpolated, self._text_height = texts, interpolated, text_height
        for text in texts:
            font.check("".join(vars(text).values()), f"the text {text.caption[:20]!r}...")
        self._panels = PanelCache(font.panel)

    def draw(self, frame: OutputFrame) -> None:
        """Draw the caption, and a message where the picture is not the camera's own."""
        image = frame.image
        height, width = image.shape[:2]
        gap, origin = self._text_height(height), frame.input.origin
        if origin is Origin.HELD:
            cv2.convertScaleAbs(image, image, HELD_BRIGHTNESS)
        if not self._texts:
            return
        times = f"{frame.size[0] * frame.size[1] / (frame.input.size[0] * frame.input.size[1]):.1f}".removesuffix(".0")
        low = self._panel("caption", [text.caption.replace("{times}", times) for text in self._texts], gap, width)
        low.draw(image, (width - low.size[0]) // 2, height - low.size[1] - gap // 2)
        if origin is Origin.HELD:
            message = self._panel("waiting", [text.waiting for text in self._texts], 2 * gap, width)
            message.draw(image, (width - message.size[0]) // 2, (height - message.size[1]) // 2)
        lines = [text.attract for text in self._texts] if origin is Origin.ATTRACT else []
        if self._interpolated():
            lines += [text.fallback for text in self._texts]
        if lines:
            message = self._panel("message", lines, gap, width)
            message.draw(image, (width - message.size[0]) // 2, height - low.size[1] - message.size[1] - gap)

    def _panel(self, name: str, lines: Sequence[str], height: int, width: int) -> TextPanel:
        return self._panels.panel(name, lines, height=height, width=width - 2 * height)
