"""Figures that others have published; none of them was measured here.

PSNR in dB of luma on PUBLISHED_SETS, as this project was given them to beat.
"""

from __future__ import annotations

from dataclasses import dataclass

PRIMARY_SET, SECONDARY_SET = PUBLISHED_SETS = ("Set5", "Set14")
"""The test sets that others publish figures for, and that this project's goals are stated for. Losses and the plot
are for the first; crops are of the second, which is also the one that is degraded."""


def place(name: str) -> tuple[int, str]:
    """Return the sort key of a test set in tables: PUBLISHED_SETS first, then by name."""
    return PUBLISHED_SETS.index(name) if name in PUBLISHED_SETS else len(PUBLISHED_SETS), name


@dataclass(frozen=True)
class Published:
    """A network of a paper."""

    name: str
    paper: str
    psnr: dict[int, tuple[float, float]]
    """On PUBLISHED_SETS, by scale."""
    rival: str
    """The shipped model of about its size."""
    peer: str = ""
    """The same architecture in OpenCV's dnn_superres, trained by somebody else: its time is the network's."""
    parameters: str = ""


PUBLISHED_NETWORKS = (
    Published("ESPCN", "Shi et al., CVPR 2016", {2: (36.87, 32.62)}, "fast", "ESPCN", "26.8 K"),
    Published("FSRCNN", "Dong et al., ECCV 2016", {2: (37.00, 32.68)}, "fast", "FSRCNN", "24.7 K"),
    Published("ECBSR-M4C16", "Zhang et al., ACM Multimedia 2021", {2: (37.18, 32.79), 4: (30.87, 27.80)}, "fast"),
    Published("ECBSR-M4C32", "Zhang et al., ACM Multimedia 2021", {2: (37.39, 33.03), 4: (31.24, 28.04)}, "balanced"),
    Published("ETDS-L", "Chao et al., CVPR 2023", {2: (37.64, 33.24), 4: (31.69, 28.31)}, "quality"),
)
