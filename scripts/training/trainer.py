"""One training run: batches, loss, optimisers, checkpoints, validation."""

from __future__ import annotations

import copy
import io
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812 # PyTorch's own abbreviation
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from engines.catalog.terms import NOT_STATED, TERMS_KEY
from scripts.common.network import UpscalingNetwork
from scripts.common.test_sets import LUMA_WEIGHTS, pairs, psnr
from scripts.training.gpu_crops import GpuCropper
from scripts.training.photos import Photos
from scripts.training.recipe import AUTOCAST_TYPES, Recipe
from scripts.training.run_log import OTHER_OUT_FIX, RunLog, TrainError, store

LUMA_TENSOR = torch.tensor(LUMA_WEIGHTS) / 255


def raise_if_unusable(device: str) -> None:
    """Raise TrainError if nothing can be computed on `device`."""
    try:
        torch.zeros(1, device=device).item()
    except (AssertionError, RuntimeError) as error:  # the first where PyTorch was built without it
        reason = str(error).strip().splitlines()[0]
        raise TrainError(f"There is no device {device!r}", reason, "--device cpu is always available.") from None


def loss_of(recipe: Recipe, step: int, out: Tensor, truth: Tensor) -> Tensor:
    """Return the error of luma plus a share of the error of all colours; float32 [N, 3, H, W] BGR in 0..1."""
    measure = F.mse_loss if step >= recipe.finish * recipe.steps else F.l1_loss
    error = out - truth
    luma = torch.einsum("nchw,c->nhw", error, LUMA_TENSOR.to(error))
    loss = measure(luma, torch.zeros_like(luma)) + recipe.colour * measure(error, torch.zeros_like(error))
    if recipe.fourier and measure is F.l1_loss:
        loss = loss + recipe.fourier * torch.fft.rfft2(luma, norm="ortho").abs().mean()
    return loss


def optimisers(network: UpscalingNetwork, kind: str) -> list[torch.optim.Optimizer]:
    """Return Adam for all weights or, with `muon`, Muon for the matrices and Adam for all else.

    Kernels are made of the matrices; all else is the biases and the picture's own path (Muon:
    kellerjordan.github.io/posts/muon). The "lr" of the optimisers are shares of the recipe's.
    """
    if kind == "adam":
        return [torch.optim.Adam(network.parameters(), lr=1.0, betas=(0.9, 0.99))]
    matrices = [p for p in network.parameters() if p.ndim == 2]
    others = [p for p in network.parameters() if p.ndim != 2]
    return [
        torch.optim.Muon(matrices, lr=1.0, weight_decay=0, adjust_lr_fn="match_rms_adamw"),
        torch.optim.Adam(others, lr=0.5, betas=(0.9, 0.99)),
    ]


class Batches(Dataset[tuple[Tensor, ...]]):
    """The batch of each step: low and high resolution, and the teacher's if there is one, uint8 [N, H, W, 3] BGR.

    Without `whole` it is only the places where they are to be cut out.
    """

    def __init__(self, recipe: Recipe, photos: Photos, *, whole: bool) -> None:
        self.recipe, self.photos, self.whole = recipe, photos, whole

    def __getitem__(self, step: int) -> tuple[Tensor, ...]:
        recipe = self.recipe
        places = self.photos.places(
            recipe.seed, step, count=recipe.batch, size=recipe.crop, candidates=recipe.candidates
        )
        arrays = self.photos.cut(places, recipe.crop) if self.whole else (places,)
        return tuple(torch.from_numpy(array) for array in arrays)


class Training:
    """One run: the network, its moving average, the optimisers, and the step it is at."""

    def __init__(self, recipe: Recipe, photos: Photos, *, device: str, compiled: bool, workers: int = 0) -> None:
        self.recipe, self.device, self.step, self.workers = recipe, device, 0, workers
        self.inputs = {"photographs": photos.digest, **recipe.digests()}
        """Digests of what a recipe cannot hold; a run goes on with the same only."""
        self.terms = NOT_STATED
        """On what terms the network may be used (engines/catalog/terms.py); the file that is exported says them."""
        self.cutter = GpuCropper(photos, device) if device.startswith("cuda") else None
        self.data = Batches(recipe, photos, whole=self.cutter is None)
        self.network = recipe.network().to(device)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.network)
        self.forward = torch.compile(self.network) if compiled else self.network
        self.optimisers = optimisers(self.network, recipe.optimiser)
        # fp16 has few exponents: small gradients are made larger on the way back.
        self.scaler = torch.amp.GradScaler(device, enabled=recipe.precision == "fp16")

    def batches(self) -> DataLoader[tuple[Tensor, ...]]:
        """Return the remaining batches, made ahead of time by `workers` processes (0: made when they are asked for)."""
        return DataLoader(
            self.data,
            batch_size=None,
            sampler=range(self.step, self.recipe.steps),
            num_workers=self.workers,
            prefetch_factor=4 if self.workers else None,
            pin_memory=self.device.startswith("cuda"),
        )

    def advance(self, *batch: Tensor) -> Tensor:
        """Do one step on a batch of Batches; return its loss, on the device.

        Reading the loss waits for the step.
        """
        recipe = self.recipe
        pictures = self.cutter(batch[0], recipe.crop) if self.cutter else batch
        low, high, *teacher_targets = (
            crops.to(self.device, non_blocking=True).permute(0, 3, 1, 2).float() / 255 for crops in pictures
        )
        for optimiser in self.optimisers:
            optimiser.param_groups[0]["lr"] = recipe.rate(self.step) * optimiser.defaults["lr"]
        with torch.autocast(self.device, AUTOCAST_TYPES[recipe.precision], enabled=recipe.precision != "fp32"):
            result = self.forward(low)
        loss = loss_of(recipe, self.step, result, high)
        for target in teacher_targets:
            loss = loss + recipe.distil * loss_of(recipe, self.step, result, target)
        self.network.zero_grad()
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        for optimiser in self.optimisers:
            self.scaler.step(optimiser)
        self.scaler.update()
        keep = min(recipe.average, self.step / (self.step + 10))
        with torch.no_grad():
            for mean, value in zip(self.average.parameters(), self.network.parameters(), strict=True):
                mean.lerp_(value, 1 - keep)
        self.step += 1
        return loss.detach()

    def save(self, path: Path) -> None:
        """Write a checkpoint that survives being interrupted while writing. Raises TrainError."""
        state = {
            "recipe": self.recipe.values(),
            "step": self.step,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "scaler": self.scaler.state_dict(),
            "inputs": self.inputs,
            TERMS_KEY: self.terms,
        }
        buffer = io.BytesIO()
        torch.save(state, buffer)
        store(path, buffer.getvalue())

    def resume(self, path: Path) -> None:
        """Continue from a checkpoint.

        Raises TrainError if the file is none, or that of another run; OSError.
        """
        file = io.BytesIO(path.read_bytes())
        try:
            state = torch.load(file, map_location="cpu", weights_only=True)
            before = {**Recipe(**state["recipe"]).values(), **state.get("inputs", {})}  # older ones know less of both
            now = {**self.recipe.values(), **self.inputs}
            if other := [key for key in before if before[key] != now.get(key)]:
                raise TrainError(f"{path} belongs to another run", f"other: {', '.join(other)}", OTHER_OUT_FIX)
            self.step = state["step"]
            self.network.load_state_dict(state["network"])
            self.average.load_state_dict(state["average"])
            for optimiser, values in zip(self.optimisers, state["optimisers"], strict=True):
                optimiser.load_state_dict(values)
            self.scaler.load_state_dict(state["scaler"])
        except TrainError:
            raise
        except Exception as error:  # a file cut short, foreign or of another version can fail in any way
            reason = next(iter(str(error).strip().splitlines()), "")
            raise TrainError(
                f"{path} is not a checkpoint of this version", f"{type(error).__name__}: {reason}", OTHER_OUT_FIX
            ) from None


def validate(network: UpscalingNetwork, folder: Path) -> float:
    """Return the mean luma PSNR in dB over a test set (scripts/common/test_sets.py)."""
    figures = []
    device = next(network.parameters()).device
    with torch.inference_mode():
        for _, low, high in pairs(folder, network.scale):
            x = torch.from_numpy(low).to(device).permute(2, 0, 1)[None].float() / 255
            y = (network(x) * 255).round().clamp(0, 255)[0].permute(1, 2, 0).byte().cpu().numpy()
            figures.append(psnr(y, high[: y.shape[0], : y.shape[1]], border=network.scale))
    return sum(figures) / len(figures)


def train(run: Training, log: RunLog, out: Path, tests: list[Path], every: int) -> None:
    """Run to the last step of the recipe, logging and saving every `every` steps."""
    # Not a list of losses: each would lie on the heap among what its step has freed, and pin it down by the gigabyte.
    lost, since = torch.zeros((), dtype=torch.float32, device=run.device), run.step
    with tqdm(total=run.recipe.steps, initial=run.step, unit="step", mininterval=5) as bar:
        for batch in run.batches():
            lost += run.advance(*batch)
            bar.update()
            if run.step % every == 0 or run.step == run.recipe.steps:
                figures = [validate(run.average, test) for test in tests]
                log.write(run.step, float(lost) / (run.step - since), figures)
                run.save(out / "checkpoint.pt")  # last: a run that dies before it measures and logs this step again
                bar.set_postfix({t.name: f"{f:.2f}" for t, f in zip(tests, figures, strict=True)})
                since = run.step
                lost.zero_()
