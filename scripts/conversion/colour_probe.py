"""Find the order and range in which a third-party network takes its colours, unless the user gives them.

The network enlarges a picture whose large original is known, in every format there is: one that does far better than
the others is right. The order of colours cannot be seen that way: with the wrong one two networks enlarged within 0.6
dB as well, yet not alike (29 to 54 dB apart), so it has to be given wherever it makes a difference.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass

import cv2
import numpy as np

from app.sources.demo.poster import draw_poster
from engines.base import Image
from scripts.common.test_sets import LUMA_OF_BGR
from scripts.conversion.third_party import Floats, Geometry, ThirdPartyNetwork, WrapError

SAME_PICTURE_DB = 50.0
"""PSNR in dB between two pictures that count as one: 0.8 grey levels on average."""
CLEAR_LEAD_DB = 3.0
"""By how many dB the right range must beat the other. Four networks at hand did by 5 to 35."""
SIGNED_LEAD_DB = 1.0
"""By how many dB a range of -1..1 must beat 0..1 to be believed. 0..1 was 1.3 to 33 dB ahead where it was right."""
PLAUSIBLE_DB = 20.0
"""PSNR in dB that anything which enlarges pictures reaches: the least faithful at hand, trained on cartoons, has 24."""
PROBE_SIZE = (96, 128)
"""Height and width, as nearly as the network allows, of what it is tried on."""
PROBE_BLUR_SIGMA = 0.5
"""Standard deviation of the blur of what it is tried on, in its pixels. Enlarging that is no art, so that what is wrong
stands out from what is hard: unblurred, a wrong range cost 1.4 dB only."""


@dataclass(frozen=True)
class ColourFormat:
    """An order of colours and a range of values."""

    order: str
    """rgb or bgr, or luma for a network that sees nothing else."""
    white: int
    black: int = 0

    def planes(self, picture: Image) -> Floats:
        """Return uint8 [H, W, 3] BGR as the network takes it, float32 [3 or 1, H, W]."""
        colours = picture[..., ::-1] if self.order == "rgb" else picture
        values = (colours @ LUMA_OF_BGR)[..., None] if self.order == "luma" else colours
        scaled = values / 255 * (self.white - self.black) + self.black
        return np.asarray(scaled.transpose(2, 0, 1), np.float32)

    def picture(self, planes: Floats) -> Floats:
        """Return what the network gave as grey levels [H, W, 3 or 1], BGR, not rounded."""
        levels: Floats = (planes.transpose(1, 2, 0) - self.black) / (self.white - self.black) * 255
        return levels[..., ::-1] if self.order == "rgb" else levels


def to_bytes(levels: Floats) -> Image:
    """Return grey levels as uint8; NaN, which a network in a wrong range may give, becomes black."""
    return np.clip(np.round(np.nan_to_num(levels)), 0, 255).astype(np.uint8)


def psnr(a: Image, b: Image) -> float:
    """Return the PSNR in dB over all colours; infinite for equal pictures."""
    error = float(np.mean((a.astype(np.float64) - b) ** 2))
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


@functools.cache
def poster() -> Image:
    """Return the demo's poster, drawn once. The caller must not draw into it."""
    return draw_poster(640, 360)


def probe_pair(size: tuple[int, int], scale: int) -> tuple[Image, Image]:
    """Return a soft picture of `size` (height, width) and its original, `scale` times larger.

    Both are uint8 [H, W, 3] BGR.
    """
    height, width = (scale * n for n in size)
    large = cv2.resize(poster(), (width, height), interpolation=cv2.INTER_AREA)
    large = cv2.GaussianBlur(large, (0, 0), PROBE_BLUR_SIGMA * scale)
    small = cv2.resize(large, (size[1], size[0]), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8), np.asarray(large, np.uint8)


def find_format(original: ThirdPartyNetwork, geometry: Geometry, order: str | None, white: int | None) -> ColourFormat:
    """Return the colour format of a network, as far as `order` and `white` leave it open.

    Raises WrapError naming the options that must be given.
    """
    orders = ["luma"] if original.channels == 1 else [order] if order else ["bgr", "rgb"]
    # The cheapest first: of those that come to the same, it is taken.
    offered = [ColourFormat(o, w) for w, o in itertools.product([white] if white else [255, 1], orders)]
    if len(offered) == 1:
        return offered[0]  # everything was given, by somebody who knows the result
    step = geometry.multiple
    small, large = probe_pair(original.size(*(-(-n // step) * step for n in PROBE_SIZE)), geometry.scale)
    if original.channels == 1:
        large = to_bytes((large @ LUMA_OF_BGR)[..., None])
    signed = [] if white else [ColourFormat(o, 1, -1) for o in orders]
    results = {
        candidate: to_bytes(run_in_python(original, geometry, candidate, small)) for candidate in offered + signed
    }
    quality = {candidate: psnr(picture, large) for candidate, picture in results.items()}
    raise_if_implausible(
        original,
        {candidate: quality[candidate] for candidate in offered},
        {candidate: quality[candidate] for candidate in signed},
    )
    best = max(offered, key=lambda candidate: quality[candidate])
    rivals = [candidate for candidate in offered if quality[candidate] >= quality[best] - CLEAR_LEAD_DB]
    if any(psnr(results[candidate], results[best]) < SAME_PICTURE_DB for candidate in rivals):
        raise ambiguous_error(original, {candidate: quality[candidate] for candidate in rivals})
    return rivals[0]


def raise_if_implausible(
    original: ThirdPartyNetwork, offered: dict[ColourFormat, float], signed: dict[ColourFormat, float]
) -> None:
    """Raise WrapError if none of the `offered` formats is right, but perhaps one of the `signed` ones.

    Both come with their PSNR in dB.
    """
    best = max(offered.values())
    if best < PLAUSIBLE_DB and max(signed.values(), default=0) < PLAUSIBLE_DB:
        seen = ", ".join(
            f"{describe(candidate)}: {quality:.1f} dB" for candidate, quality in (offered | signed).items()
        )
        options = "both --order and --range" if original.channels == 3 else "--range"
        raise WrapError(
            f"{original.path} does not enlarge a picture in any way that was tried",
            f"PSNR against the original: {seen}",
            f"If it is meant to change the picture, give {options}. If its output has another range than its "
            "input, export it with a layer that corrects this.",
        )
    if signed and max(signed.values()) > best + SIGNED_LEAD_DB:
        raise WrapError(
            f"{original.path} takes values from -1 to 1",
            f"a picture with such values is enlarged with {max(signed.values()):.1f} dB, otherwise at {best:.1f} dB",
            "Export it with layers before and after that convert from and to 0..1: x * 2 - 1 and y / 2 + 0.5.",
        )


def run_in_python(original: ThirdPartyNetwork, geometry: Geometry, colours: ColourFormat, picture: Image) -> Floats:
    """Return the grey levels [s*H, s*W, 3] that the network makes of `picture`, with all else done in Python.

    `picture` is uint8 [H, W, 3], BGR. A network of luma gives [s*H, s*W, 1], without the colours.
    """
    height, width = picture.shape[:2]
    b, m, s, o = geometry.border, geometry.multiple, geometry.scale, geometry.offset
    ends = ((b, -(-(n + 2 * b) // m) * m - n - b) for n in (height, width))
    padded = np.pad(picture, (*ends, (0, 0)), "edge")
    return colours.picture(original.run(colours.planes(padded)))[o : o + s * height, o : o + s * width]


def add_colours(luma: Floats, picture: Image) -> Floats:
    """Return `luma` [s*H, s*W, 1] with the colours of `picture` [H, W, 3].

    Interpolation is good enough for these.
    """
    chroma = picture - (picture @ LUMA_OF_BGR)[..., None]
    large = cv2.resize(chroma, (luma.shape[1], luma.shape[0]), interpolation=cv2.INTER_CUBIC)
    return np.asarray(large + luma, np.float32)


def describe(colours: ColourFormat) -> str:
    """Return such as "rgb, 0..1"."""
    return f"{colours.order}, {colours.black}..{colours.white}"


def ambiguous_error(original: ThirdPartyNetwork, rivals: dict[ColourFormat, float]) -> WrapError:
    """Return the error that asks what only a person can answer."""
    options = []
    if len({candidate.order for candidate in rivals}) > 1:
        options.append("--order rgb (most networks) or --order bgr (some that were trained through OpenCV)")
    if len({candidate.white for candidate in rivals}) > 1:
        options.append("--range 1 or --range 255")
    seen = ", ".join(f"{describe(candidate)}: {quality:.1f} dB" for candidate, quality in rivals.items())
    return WrapError(
        f"It cannot be detected in which format {original.path} takes its colours",
        f"several give pictures of about the same quality, but not the same picture: {seen}",
        f"Give {'; and '.join(options)}.",
    )
