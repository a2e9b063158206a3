"""The network in PyTorch: an over-parameterised form to train, a plain 3x3 form to ship.

The picture is upscaled twice and added up. `base` is one linear 3x3 convolution that carries colour (it starts
as bilinear interpolation); `body` and `head` predict luma detail alone, one value for each output pixel, which is
added to blue, green and red alike. Adding the same value to all three changes BT.601 luma by that value and
leaves both chroma components where they were, so no capacity is spent on colours the eye cannot resolve.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 # PyTorch's own abbreviation
from torch import Tensor, nn

from engines.errors import UserError


class NetworkError(UserError):
    """A network cannot be made from what it should start from."""


def exactly(like: Tensor) -> torch.autocast:
    """Return a context that computes in the given types, even where the rest runs in 16 bits."""
    return torch.autocast(like.device.type, enabled=False)


def identity(kernel: Tensor) -> Tensor:
    """Return the kernel that changes nothing, [n, n, 3, 3] as `kernel` is."""
    return F.pad(torch.eye(len(kernel))[:, :, None, None].to(kernel), (1, 1, 1, 1))


class CollapsibleConv(nn.Module):
    """A 3x3 convolution trained as 3x3 to `expand` channels followed by 1x1, plus identity where shapes allow.

    The product is formed in weight space, so a training step costs one plain convolution
    (collapsible linear blocks: SESR, Bhardwaj et al., MLSys 2022, arXiv:2103.09404). Both factors are matrices, so
    that Muon can train them.
    """

    def __init__(self, inputs: int, outputs: int, *, expand: int, gain: float = 1.0, padding: int = 1) -> None:
        super().__init__()
        self.wide = nn.Parameter(torch.randn(expand, inputs * 9) * (9 * inputs) ** -0.5)
        self.narrow = nn.Parameter(torch.randn(outputs, expand) * gain * expand**-0.5)
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.residual = inputs == outputs
        self.padding = padding

    def kernel(self) -> Tensor:
        """Return the 3x3 kernel that this block stands for, float32 [outputs, inputs, 3, 3]."""
        with exactly(self.wide):
            kernel = (self.narrow @ self.wide).view(len(self.narrow), -1, 3, 3)
        if self.residual:
            kernel = kernel + identity(kernel)
        return kernel

    def forward(self, x: Tensor) -> Tensor:
        """Convolve."""
        return F.conv2d(x, self.kernel(), self.bias, padding=self.padding)

    @torch.no_grad()
    def become(self, conv: nn.Conv2d) -> None:
        """Compute what `conv` does, a plain one with as many channels or fewer.

        Its outputs see nothing of further inputs; further outputs keep their random weights, so that they have
        something to tell as soon as a later layer listens (Net2Net, arXiv:1511.05641, without copies).
        """
        outputs, inputs = conv.weight.shape[:2]
        kernel = self.kernel()
        kernel[:outputs] = 0
        kernel[:outputs, :inputs] = conv.weight
        if self.residual:
            kernel = kernel - identity(kernel)
        # The singular value decomposition is the product with the smallest factors; the rest of `wide` stays random.
        left, values, right = torch.linalg.svd(kernel.flatten(1), full_matrices=False)
        rank = min(len(values), len(self.wide))
        self.narrow.zero_()
        self.narrow[:, :rank] = (left * values.sqrt())[:, :rank]
        self.wide[:rank] = (right * values.sqrt()[:, None])[:rank]
        assert conv.bias is not None
        self.bias[:outputs] = conv.bias

    @torch.no_grad()
    def pass_on(self) -> None:
        """Let the input through unchanged."""
        self.narrow.zero_()

    def collapsed(self) -> nn.Conv2d:
        """Return the same function as a plain convolution with copied weights."""
        kernel = self.kernel().detach()
        conv = nn.Conv2d(kernel.shape[1], kernel.shape[0], 3, padding=self.padding)
        conv.load_state_dict({"weight": kernel, "bias": self.bias.detach()})
        return conv


def smoothing(scale: int) -> Tensor:
    """Return the kernel of a smooth enlargement, float32 [3 * scale**2, 3, 3, 3].

    Each new pixel is the mean of 3x3 old ones, leaning towards where it lies. That passes less noise than bicubic does.
    """
    offsets = (torch.arange(scale) + 0.5) / scale - 0.5  # of a new pixel from the old one's middle, in old pixels
    taps = torch.stack([1 / 3 - offsets / 2, torch.full_like(offsets, 1 / 3), 1 / 3 + offsets / 2], 1)
    plane = torch.einsum("iy,jx->ijyx", taps, taps).reshape(scale**2, 3, 3)
    kernel = torch.zeros(3, scale**2, 3, 3, 3)
    for colour in range(3):
        kernel[colour, :, colour] = plane
    return kernel.flatten(0, 1)


class UpscalingNetwork(nn.Module):
    """Enlarges RGB-like planes `scale` times; float32 [N, 3, H, W], any range, nothing clamped.

    With `coring`, in grey levels of 255, smaller differences from a smooth enlargement are left out and larger ones are
    reduced by as much (soft thresholding, Donoho, IEEE Trans. Inf. Theory 1995): still walls do not flicker with the
    last bit of a codec, nor with the rounding of int8. It can be set on a finished network.

    Channel order does not matter as long as training and use agree; here it is always BGR.
    """

    def __init__(self, *, scale: int, channels: int, depth: int, expand: int = 64) -> None:
        super().__init__()
        self.scale, self.coring = scale, 0.0
        self.base = nn.Conv2d(3, 3 * scale**2, 3)
        blocks: list[nn.Module] = [CollapsibleConv(3, channels, expand=expand, padding=0), nn.ReLU()]
        for _ in range(depth):
            blocks += [CollapsibleConv(channels, channels, expand=expand, gain=0.5), nn.ReLU()]
        self.body = nn.Sequential(*blocks)
        self.head: nn.Module = CollapsibleConv(channels, scale**2, expand=expand, gain=0.05)
        self._start_as_bilinear()

    def _start_as_bilinear(self) -> None:
        s = self.scale
        impulse = torch.zeros(9, 1, 3, 3)
        impulse[torch.arange(9), 0, torch.arange(9) // 3, torch.arange(9) % 3] = 1
        large = F.interpolate(F.pad(impulse, (1, 1, 1, 1)), scale_factor=s, mode="bilinear", align_corners=False)
        centre = large[:, 0, 2 * s : 3 * s, 2 * s : 3 * s].reshape(3, 3, s * s)  # response of the middle pixel
        with torch.no_grad():
            self.base.weight.zero_()
            self.base.bias.zero_()  # type: ignore[union-attr]
            for colour in range(3):
                self.base.weight[colour * s * s : (colour + 1) * s * s, colour] = centre.permute(2, 0, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Enlarge."""
        x = F.pad(x, (1, 1, 1, 1), mode="replicate")
        detail = F.pixel_shuffle(self.head(self.body(x)), self.scale)
        with exactly(x):  # the picture itself, to whose grey levels 16 bits would do harm
            large = F.pixel_shuffle(self.base(x), self.scale) + detail
            if not self.coring:
                return large
            calm = F.pixel_shuffle(F.conv2d(x, smoothing(self.scale).to(x)), self.scale)
            return calm + F.softshrink(large - calm, self.coring / 255)

    def start_from(self, plain: UpscalingNetwork) -> None:
        """Begin as a trained, collapsed network that is no wider and no deeper than this one.

        For the same scale the result is the same function; for another the features are taken over and what places the
        pixels is learnt anew. Raises NetworkError for one that is larger.
        """
        ours = [b for b in self.body if isinstance(b, CollapsibleConv)]
        theirs = [b for b in plain.body if isinstance(b, nn.Conv2d)]
        width, wanted = theirs[0].out_channels, len(ours[0].narrow)
        if len(theirs) > len(ours) or width > wanted:
            raise NetworkError(
                "A network can only start from a smaller one",
                f"{wanted} channels and depth {len(ours) - 1} from {width} and {len(theirs) - 1}",
                "Start from another file, or raise channels and depth.",
            )
        for block, conv in zip(ours, theirs, strict=False):
            block.become(conv)
        for block in ours[len(theirs) :]:
            block.pass_on()
        if plain.scale == self.scale:
            assert isinstance(self.head, CollapsibleConv) and isinstance(plain.head, nn.Conv2d)
            self.head.become(plain.head)
            self.base.load_state_dict(plain.base.state_dict())

    def collapsed(self) -> UpscalingNetwork:
        """Return a copy made of plain convolutions, to be exported, quantised and timed."""
        plain = UpscalingNetwork(scale=self.scale, channels=3, depth=0, expand=1)
        plain.base.load_state_dict({k: v.detach().clone() for k, v in self.base.state_dict().items()})
        plain.base.weight.requires_grad_(True)
        blocks = [b.collapsed() if isinstance(b, CollapsibleConv) else nn.ReLU() for b in self.body]
        plain.body = nn.Sequential(*blocks)
        assert isinstance(self.head, CollapsibleConv)
        plain.head = self.head.collapsed()
        plain.coring = self.coring
        return plain


class Contract(nn.Module):
    """The shipped contract around a network: uint8 [1, H, W, 3] BGR in, uint8 [1, sH, sW, 3] BGR out."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, frame: Tensor) -> Tensor:
        """Enlarge."""
        # Cast before Transpose: TensorRT's parser refuses a uint8 input that meets any other node first.
        x = frame.to(torch.float32).permute(0, 3, 1, 2) / 255
        y = self.network(x) * 255
        sr: Tensor = y.round().clamp(0, 255).permute(0, 2, 3, 1).to(torch.uint8)
        return sr
