#!/usr/bin/env python3
"""Train a network from a recipe: python scripts/train.py configs/train/fast-x2.yaml --data FOLDER [FOLDER ...]

Seeded and resumable: the batch of a step depends on the seed and the step alone, so a run that was interrupted
and continued ends like one that was not. Writes checkpoint.pt and log.csv into --out.
"""

from __future__ import annotations

import argparse
import copy
import csv
import math
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
import yaml
from torch import Tensor
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from scripts.export import network_from_onnx
from scripts.network import Upscaler
from scripts.photos import Photos
from scripts.testsets import pairs, psnr

ROOT = Path(__file__).resolve().parent.parent
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
LUMA = torch.tensor([24.966, 128.553, 65.481]) / 255  # BT.601, for BGR


@dataclass(frozen=True)
class Recipe:
    """What decides the outcome of a training run; see configs/train/*.yaml for the meaning of each."""

    seed: int
    scale: int
    channels: int
    depth: int
    expand: int
    longest: int
    batch: int
    crop: int
    steps: int
    learning_rate: float
    warmup: int
    average: float
    colour: float
    finish: float
    precision: str = "fp32"
    fourier: float = 0.0
    start: str | None = None

    @classmethod
    def read(cls, path: Path) -> Recipe:
        try:
            return cls(**yaml.safe_load(path.read_text()))
        except (OSError, TypeError, yaml.YAMLError) as error:
            raise SystemExit(f"{path} is not a recipe: {error}. Start from configs/train/fast-x2.yaml.") from None

    def network(self) -> Upscaler:
        """The network to begin with. Raises UserError if the file to start from does not suit."""
        torch.manual_seed(self.seed)
        network = Upscaler(scale=self.scale, channels=self.channels, depth=self.depth, expand=self.expand)
        if self.start:
            network.start_from(network_from_onnx(ROOT / self.start))
        return network

    def rate(self, step: int) -> float:
        """Learning rate: linear warm-up, then a cosine down to nothing (SGDR, arXiv:1608.03983, one cycle)."""
        if step < self.warmup:
            return self.learning_rate * (step + 1) / self.warmup
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def loss_of(recipe: Recipe, step: int, out: Tensor, truth: Tensor) -> Tensor:
    """Error of luma plus a share of the error of all colours; float32 [N, 3, H, W] BGR in 0..1."""
    measure = F.mse_loss if step >= recipe.finish * recipe.steps else F.l1_loss
    error = out - truth
    luma = torch.einsum("nchw,c->nhw", error, LUMA.to(error))
    loss = measure(luma, torch.zeros_like(luma)) + recipe.colour * measure(error, torch.zeros_like(error))
    if recipe.fourier and measure is F.l1_loss:
        loss = loss + recipe.fourier * torch.fft.rfft2(luma, norm="ortho").abs().mean()
    return loss


class Training:
    """One run: network, its moving average, optimiser, and the step it is at."""

    def __init__(self, recipe: Recipe, photos: Photos, *, device: str, compiled: bool) -> None:
        self.recipe, self.photos, self.device, self.step = recipe, photos, device, 0
        self.network = recipe.network().to(device)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.network)
        self.forward = torch.compile(self.network) if compiled else self.network
        self.optimiser = torch.optim.Adam(self.network.parameters(), betas=(0.9, 0.99))
        # fp16 has few exponents: small gradients are made larger on the way back.
        self.scaler = torch.amp.GradScaler(device, enabled=recipe.precision == "fp16")

    def advance(self) -> float:
        """One step; returns its loss."""
        recipe = self.recipe
        low, high = (
            torch.from_numpy(a).to(self.device).permute(0, 3, 1, 2).float() / 255
            for a in self.photos.batch(recipe.seed, self.step, count=recipe.batch, size=recipe.crop)
        )
        self.optimiser.param_groups[0]["lr"] = recipe.rate(self.step)
        with torch.autocast(self.device, PRECISIONS[recipe.precision], enabled=recipe.precision != "fp32"):
            result = self.forward(low)
        loss = loss_of(recipe, self.step, result, high)
        self.optimiser.zero_grad()
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self.scaler.step(self.optimiser)
        self.scaler.update()
        keep = min(recipe.average, self.step / (self.step + 10))
        with torch.no_grad():
            for mean, value in zip(self.average.parameters(), self.network.parameters(), strict=True):
                mean.lerp_(value, 1 - keep)
        self.step += 1
        return float(loss.detach())

    def save(self, path: Path) -> None:
        """Write a checkpoint that survives being interrupted while writing."""
        state = {
            "recipe": asdict(self.recipe),
            "step": self.step,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }
        torch.save(state, path.with_suffix(".tmp"))
        path.with_suffix(".tmp").replace(path)

    def resume(self, path: Path) -> None:
        state = torch.load(path, map_location=self.device, weights_only=True)
        if state["recipe"] != asdict(self.recipe):
            raise SystemExit(f"{path} was made by another recipe. Give another --out, or delete it.")
        self.step = state["step"]
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])


def validate(network: Upscaler, folder: Path) -> float:
    """Mean luma PSNR in dB over a test set (scripts/testsets.py)."""
    figures = []
    device = next(network.parameters()).device
    with torch.inference_mode():
        for _, low, high in pairs(folder, network.scale):
            x = torch.from_numpy(low).to(device).permute(2, 0, 1)[None].float() / 255
            y = (network(x) * 255).round().clamp(0, 255)[0].permute(1, 2, 0).byte().cpu().numpy()
            figures.append(psnr(y, high[: y.shape[0], : y.shape[1]], border=network.scale))
    return sum(figures) / len(figures)


def train(run: Training, out: Path, tests: list[Path], every: int) -> None:
    """Run to the last step of the recipe, logging and saving every `every` steps."""
    recent, started = [], time.monotonic()
    with (
        (out / "log.csv").open("a", newline="") as file,
        tqdm(total=run.recipe.steps, initial=run.step, unit="step", mininterval=5) as bar,
    ):
        log = csv.writer(file)
        while run.step < run.recipe.steps:
            recent.append(run.advance())
            bar.update()
            if run.step % every == 0 or run.step == run.recipe.steps:
                run.save(out / "checkpoint.pt")
                figures = [validate(run.average, test) for test in tests]
                log.writerow(
                    [
                        run.step,
                        round(time.monotonic() - started),
                        sum(recent) / len(recent),
                        *(f"{f:.3f}" for f in figures),
                    ]
                )
                file.flush()
                bar.set_postfix({t.name: f"{f:.2f}" for t, f in zip(tests, figures, strict=True)})
                recent.clear()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path, help="YAML file; configs/train has those of the shipped models")
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders of photographs, searched through")
    parser.add_argument("--eval", type=Path, nargs="*", default=[], help="test sets to measure on the way (Set5 ...)")
    parser.add_argument("--out", type=Path, help="where to keep checkpoint and log [runs/<recipe>]")
    parser.add_argument("--every", type=int, default=1000, help="steps between checkpoints [1000]")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--compile", action="store_true", help="torch.compile; faster after a minute, same result")
    options = parser.parse_args()
    recipe = Recipe.read(options.recipe)
    out = options.out or Path("runs") / options.recipe.stem
    out.mkdir(parents=True, exist_ok=True)
    photos = Photos(options.data, scale=recipe.scale, longest=recipe.longest, smallest=recipe.scale * recipe.crop)
    run = Training(recipe, photos, device=options.device, compiled=options.compile)
    if (out / "checkpoint.pt").exists():
        run.resume(out / "checkpoint.pt")
    train(run, out, options.eval, options.every)


if __name__ == "__main__":
    main()
