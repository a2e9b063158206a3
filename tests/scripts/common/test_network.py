"""The network: what its collapsed form computes, how it starts, what it may cost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from scripts.common.network import UpscalingNetwork

ROOT = Path(__file__).parents[3]
BUDGET = {
    "fast": {2: 12_964, 3: 14_109, 4: 18_032},
    "balanced": {2: 39_380, 3: 41_245, 4: 53_104},
    "quality": {2: 148_900, 3: 151_485, 4: 155_104},
    "large": {2: 1_779_540, 4: 1_794_384},  # teachers alone
}
"""Parameters by scale: what is shipped, and what teaches it, and no more."""

pytestmark = pytest.mark.torch


def make(scale: int = 2, channels: int = 5, depth: int = 2) -> UpscalingNetwork:
    """A network whose weights are all in use; PyTorch is imported no earlier than that."""
    import torch

    from scripts.common.network import UpscalingNetwork

    torch.manual_seed(0)
    network = UpscalingNetwork(scale=scale, channels=channels, depth=depth, expand=8)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return network


@pytest.mark.parametrize("size", [(17, 16), (16, 33), (5, 3)])
def test_the_plain_form_is_the_same_function(size: tuple[int, int]) -> None:
    import torch

    network = make()
    plain = network.collapsed()
    x = torch.rand(2, 3, *size)
    with torch.no_grad():
        assert torch.allclose(network(x), plain(x), atol=1e-4)


def test_the_plain_form_has_plain_convolutions_and_weights_of_its_own() -> None:
    import torch

    network = make()
    plain = network.collapsed()
    kinds = {type(module).__name__ for module in plain.modules() if not list(module.children())}
    assert kinds == {"Conv2d", "ReLU"}
    with torch.no_grad():
        before = plain(torch.ones(1, 3, 4, 4))
        for parameter in network.parameters():
            parameter.zero_()
        assert torch.equal(plain(torch.ones(1, 3, 4, 4)), before)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_base_starts_as_bilinear_interpolation(scale: int) -> None:
    import torch
    import torch.nn.functional as F

    from scripts.common.network import UpscalingNetwork

    network = UpscalingNetwork(scale=scale, channels=5, depth=1, expand=8)
    torch.nn.init.zeros_(network.head.narrow)  # type: ignore[arg-type]
    x = torch.rand(1, 3, 7, 9)
    with torch.no_grad():
        wanted = F.interpolate(x, scale_factor=scale, mode="bilinear", align_corners=False)
        assert torch.allclose(network(x), wanted, atol=1e-5)


def test_body_and_head_change_luma_alone() -> None:
    import torch

    network = make()
    x = torch.rand(1, 3, 6, 6)
    with torch.no_grad():
        whole = network(x)
        torch.nn.init.zeros_(network.head.narrow)  # type: ignore[arg-type]
        torch.nn.init.zeros_(network.head.bias)  # type: ignore[arg-type]
        detail = whole - network(x)
    assert detail.abs().max() > 0.01
    assert torch.allclose(detail[:, 0], detail[:, 1], atol=1e-5) and torch.allclose(
        detail[:, 0], detail[:, 2], atol=1e-5
    )


def test_the_contract_rounds_and_limits() -> None:
    import torch
    from torch import nn

    from scripts.common.network import Contract

    levels = [0, 1, 100, 254, 255, 7]
    frame = torch.tensor(levels, dtype=torch.uint8).reshape(1, 1, 2, 3)
    cases = {1.0: levels, 2.0: [0, 2, 200, 255, 255, 14], -1.0: [0] * 6, 0.504: [0, 1, 50, 128, 129, 4]}
    for factor, wanted in cases.items():
        layer = nn.Conv2d(3, 3, 1, bias=False)
        layer.weight = nn.Parameter(torch.eye(3)[:, :, None, None] * factor)
        result = Contract(layer)(frame)
        assert result.dtype == torch.uint8
        assert result.flatten().tolist() == wanted


@pytest.mark.parametrize(("channels", "depth"), [(4, 1), (4, 3), (7, 1), (8, 4)])
def test_a_network_starts_as_a_smaller_one_and_can_grow_beyond_it(channels: int, depth: int) -> None:
    import torch

    from scripts.common.network import UpscalingNetwork

    torch.manual_seed(0)
    small = UpscalingNetwork(scale=2, channels=4, depth=1, expand=8).collapsed()
    large = UpscalingNetwork(scale=2, channels=channels, depth=depth, expand=16)
    large.start_from(small)
    x = torch.rand(2, 3, 9, 12)
    assert torch.allclose(large(x), small(x), atol=1e-5)
    large(x).square().mean().backward()
    learning = [p.grad is not None and bool(p.grad.abs().sum() > 0) for p in large.head.parameters()]
    assert all(learning)


def test_a_network_takes_the_features_of_another_scale() -> None:
    import torch

    from scripts.common.network import NetworkError, UpscalingNetwork

    torch.manual_seed(0)
    two = UpscalingNetwork(scale=2, channels=4, depth=1, expand=8).collapsed()
    four = UpscalingNetwork(scale=4, channels=4, depth=2, expand=8)
    four.start_from(two)
    x = torch.rand(1, 3, 9, 12)
    assert torch.allclose(four.body(x), two.body(x), atol=1e-5)
    assert four(x).shape == (1, 3, 36, 48)
    with pytest.raises(NetworkError, match=r"only start from a smaller one\n.*3 channels and depth 1 from 4 and 1"):
        UpscalingNetwork(scale=2, channels=3, depth=1, expand=8).start_from(two)


@pytest.mark.parametrize("recipe", sorted((ROOT / "configs/train").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_recipe_keeps_to_the_budget_of_its_size(recipe: Path) -> None:
    from scripts.conversion.exporter import parameters
    from scripts.training.recipe import Recipe

    read = Recipe.read(recipe)
    size = recipe.stem.split("-")[0]
    if read.start:  # of which a clean checkout has the shipped ones alone
        assert (ROOT / "configs/train" / Path(read.start).with_suffix(".yaml").name).exists()
        read = replace(read, start=None)
    assert recipe.stem.endswith(f"-x{read.scale}") and bool(read.degradation) == ("webcam" in recipe.stem)
    assert parameters(read.network().collapsed()) <= BUDGET[size][read.scale]
