"""Networks in the styles of well-known projects, untrained: a picture enlarged plainly, and a little of the network."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Compact(nn.Module):
    """Real-ESRGAN's SRVGGNetCompact: convolutions with PReLU, pixel shuffle, the picture repeated and added."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, 1, 1), nn.PReLU(8), nn.Conv2d(8, 48, 3, 1, 1))
        self.up = nn.PixelShuffle(4)

    def forward(self, x: Tensor) -> Tensor:
        large: Tensor = 0.1 * self.up(self.body(x)) + F.interpolate(x, scale_factor=4, mode="nearest")
        return large


class Deconvolution(nn.Module):
    """FSRCNN's: shrink, map, expand, a transposed convolution; on 0..255."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 5, 1, 2), nn.PReLU(8), nn.Conv2d(8, 4, 1), nn.PReLU(4), nn.Conv2d(4, 8, 1), nn.PReLU(8)
        )
        self.up = nn.ConvTranspose2d(8, 3, 9, 2, 4, output_padding=1)

    def forward(self, x: Tensor) -> Tensor:
        large = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        return torch.clamp(large + 0.1 * self.up(self.body(x)), 0, 255)


class Windows(nn.Module):
    """Attention within windows of 8x8, as in SwinIR, of a picture folded by 2."""

    def __init__(self, channels: int = 8, window: int = 8) -> None:
        super().__init__()
        self.channels, self.window = channels, window
        self.head = nn.Conv2d(12, channels, 3, 1, 1)
        self.attend = nn.Linear(channels, 3 * channels)
        self.tail = nn.Conv2d(channels, 48, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        folded = self.head(F.pixel_unshuffle(x, 2))
        b, c, h, w = folded.shape
        k = self.window
        tokens = folded.view(b, c, h // k, k, w // k, k).permute(0, 2, 4, 3, 5, 1).reshape(-1, k * k, c)
        query, key, value = self.attend(tokens).chunk(3, -1)
        seen = torch.softmax(query @ key.transpose(1, 2) / c**0.5, -1) @ value
        blocks = seen.view(b, h // k, w // k, k, k, c).permute(0, 5, 1, 3, 2, 4).reshape(b, c, h, w)
        large = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        return large + 0.02 * F.pixel_shuffle(self.tail(folded + blocks), 4)


STYLES: dict[str, tuple[Callable[[], nn.Module], int, int, int]] = {
    "compact": (Compact, 1, 4, 1),
    "deconvolution": (Deconvolution, 255, 2, 1),
    "windows": (Windows, 1, 2, 16),
}
"""What builds it, its white, its scale, what its sizes must be multiples of."""
