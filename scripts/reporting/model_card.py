"""The text of the card of a shipped model: front matter that the catalog reads, figures measured now, its origin."""

from __future__ import annotations

import csv
import json
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from engines.catalog import shipped as catalog
from engines.catalog.onnx_metadata import properties
from engines.catalog.terms import FREE, RESEARCH_ONLY, combined, stated_terms
from engines.errors import ModelError, UserError
from scripts.common.checkout import ROOT
from scripts.evaluation import webcam_set
from scripts.evaluation.measure import Evaluation, PictureSet, evaluate, sets
from scripts.evaluation.upscalers import FILE_PRECISIONS
from scripts.reporting.goals import PSNR_TARGETS_DB
from scripts.reporting.published_figures import PUBLISHED_NETWORKS, PUBLISHED_SETS, SECONDARY_SET, place
from scripts.training.degradation import Degradation

MODEL_USES = {"fast": "the fastest", "balanced": "a board with time to spare", "quality": "the best picture"}
ORIGIN_HEADING = "## How it was made"
"""What stands above that in a card."""
CLEAN_WEAKNESS = (
    "It was trained on clean pictures that one known filter scaled down. It does not remove sensor noise or "
    "compression blocks, and sharpens those a little, too: for cameras there are the webcam models. It invents no "
    "detail."
)
WEBCAM_WEAKNESS = (
    "It was trained to remove noise, blur and compression blocks, and cannot always tell fine texture from noise: "
    "grass, hair and cloth come out smoother than they were. For clean pictures the model without `webcam` in its name "
    "is better. It looks at one picture at a time. It invents no detail."
)
SHARPENING_WEAKNESS = (
    "It sharpens: a picture that is sharp already is sharpened too much, and in the dark it shows more noise than "
    "a network that only cleans."
)


class CardError(UserError):
    """No card can be written with what was given."""


@dataclass(frozen=True)
class CardModel:
    """A shipped model: its files, their metadata, and the log of the run that made it."""

    name: str
    """fast-x2."""
    files: dict[str, Path]
    facts: dict[str, str]
    log: list[dict[str, str]]
    """Empty where its card keeps what it says of that."""

    @classmethod
    def find(cls, name: str, run: Path | None) -> CardModel:
        """Find the model `name`, such as fast-x2, and the log in `run`. Raises CardError, ModelError."""
        files = {m.precision: m.path for m in catalog.shipped() if name == m.names[1]}
        if "fp32" not in files:
            raise ModelError(f"There is no model {name}", f"in {catalog.MODELS_FOLDER}", "Give a name such as fast-x2.")
        log = [] if run is None else read_log(run)
        facts = properties(files["fp32"])
        if not facts.keys() >= {"recipe", "parameters", "scale"}:
            raise CardError(f"{files['fp32']} does not state its recipe", "scripts/export.py has not written it")
        return cls(name, files, facts, log)

    @property
    def recipe(self) -> dict[str, Any]:
        """The recipe that the fp32 file was trained by, from its metadata."""
        values: dict[str, Any] = json.loads(self.facts["recipe"])
        return values

    @property
    def calibration(self) -> list[str]:
        """The sets that its int8 file is calibrated on, from the recipe in configs/train: metadata leaves them out."""
        file = ROOT / "configs/train" / f"{self.name}.yaml"
        values = yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else {}
        return list(values.get("calibration", ()))

    @property
    def kind(self) -> str:
        """The name without webcam and scale: a key of MODEL_USES, or a name of its own."""
        return self.name.split("-")[0]

    @property
    def terms(self) -> str:
        """Of all its files together: for research use only if one is, or if one does not say."""
        return combined(stated_terms(file) or RESEARCH_ONLY for file in self.files.values()) or RESEARCH_ONLY

    @property
    def webcam(self) -> bool:
        """Whether it is a model for webcams."""
        return webcam_set.WEBCAM_SUFFIX in self.name


def read_log(run: Path) -> list[dict[str, str]]:
    """Return the lines of a training's log. Raises CardError."""
    try:
        with (run / "log.csv").open(newline="") as file:
            log = list(csv.DictReader(file))
    except OSError as error:
        raise CardError(f"{run} is not a run of scripts/train.py", str(error), "Give its --out folder.") from None
    if not log:
        raise CardError(f"{run / 'log.csv'} has no line", "the run has not reached its first checkpoint")
    return log


def heading(model: CardModel, results: Sequence[Evaluation]) -> str:
    """Return the front matter that engines.catalog.shipped reads."""
    psnr: dict[str, dict[str, float]] = {p: {} for p in FILE_PRECISIONS}
    for result in results:
        if result.precision in psnr:
            psnr[result.precision][result.set] = round(result.score.psnr, 2)
    values = {
        "use": "; ".join(filter(None, ["cameras" if model.webcam else "files", MODEL_USES.get(model.kind)])),
        "terms": model.terms,
        "parameters": int(model.facts["parameters"]),
        "psnr": psnr,
    }
    return f"---\n{yaml.safe_dump(values, sort_keys=False, default_flow_style=None, width=110)}---\n"


def what(model: CardModel) -> Iterator[str]:
    """Yield the lines about the files, the parameters and the architecture."""
    recipe, scale = model.recipe, model.facts["scale"]
    yield f"# {model.name}\n"
    sizes = ", ".join(f"`{path.name}` {path.stat().st_size / 1024:.0f} KiB" for path in model.files.values())
    yield f"Enlarges a picture {scale} times along both axes. {int(model.facts['parameters']):,} parameters; {sizes}."
    yield f"`frame` uint8 [1, H, W, 3] BGR in, `sr` uint8 [1, {scale}H, {scale}W, 3] BGR out, any H and W.\n"
    width, depth, outputs = recipe["channels"], recipe["depth"], recipe["scale"] ** 2
    yield "## What it is\n"
    yield (
        f"Plain 3x3 convolutions and ReLU, all at the input's resolution: `base`, 3 -> {3 * outputs}, carries colour; "
        f"`body`, 3 -> {width} and {depth} times {width} -> {width}, with `head`, {width} -> {outputs}, predicts luma "
        "detail that is added to blue, green and red alike. Trained as collapsible linear blocks (SESR, "
        "arXiv:2103.09404), which the export collapses; see scripts/common/network.py.\n"
    )
    if recipe.get("coring"):
        yield (
            f"Differences of less than {recipe['coring']} grey levels from a smooth enlargement are left out, so that "
            "static parts of the picture do not flicker.\n"
        )


def figures(model: CardModel, results: Sequence[Evaluation]) -> Iterator[str]:
    """Yield the section with the figures, and the project's goal if there is one."""
    names = list(dict.fromkeys(result.set for result in results))
    yield "## Figures\n"
    yield (
        "PSNR in dB / SSIM of BT.601 luma: 8-bit results, borders of `scale` pixels cut, averaged over the pictures; "
        "measured by `scripts/evaluate.py` through OpenVINO. fp32 is computed in f32; bf16 is the same file in the "
        "precision that the processor uses by default; fp16 has every value rounded to float16 (on a processor, not "
        "on a GPU); int8 uses all 256 levels of a byte after a ReLU (engines/openvino/uint8_activations.py), of which "
        "TensorRT uses half.\n"
    )
    yield f"| x{model.facts['scale']} | {' | '.join(names)} |"
    yield "|---|" + "---:|" * len(names)
    for precision in dict.fromkeys(result.precision for result in results):
        row = {r.set: f"{r.score.psnr:.2f} / {r.score.ssim:.4f}" for r in results if r.precision == precision}
        yield f"| {model.name}, {precision} | {' | '.join(row[name] for name in names)} |"
    plain = {r.set: f"{r.bicubic.psnr:.2f} / {r.bicubic.ssim:.4f}" for r in results}
    yield f"| bicubic (OpenCV) | {' | '.join(plain[name] for name in names)} |"
    scale = int(model.facts["scale"])
    for other in PUBLISHED_NETWORKS:
        if other.rival == model.kind and scale in other.psnr and not model.webcam:
            published = dict(zip(PUBLISHED_SETS, other.psnr[scale], strict=True))
            cells = (f"{published[name]:.2f}" if name in published else "" for name in names)
            yield f"| {other.name}, as published | {' | '.join(cells)} |"
    yield ""
    reached = {r.set: r.score.psnr for r in results if r.precision == "fp32"}
    if model.name in PSNR_TARGETS_DB and reached.keys() >= set(PUBLISHED_SETS):
        yield goal(model.name, reached)


def goal(name: str, reached: dict[str, float]) -> str:
    """Return a sentence on whether the model `name` reached its goal; `reached` is dB by test set."""
    wanted = dict(zip(PUBLISHED_SETS, PSNR_TARGETS_DB[name], strict=True))
    short = {s: f"{db - reached[s]:.2f} dB on {s}" for s, db in wanted.items() if reached[s] < db - 5e-3}
    figures = " / ".join(f"{db:.2f}" for db in wanted.values())
    sentence = f"The project's goal for it is {figures} on {' / '.join(PUBLISHED_SETS)}"
    if not short:
        return f"{sentence}: reached.\n"
    return (
        f"{sentence}; it falls short by {' and '.join(short.values())}. It was trained for as long as time allowed.\n"
    )


def to_degrade(folder: Path) -> PictureSet:
    """Return the set that webcam models are also measured on, made worse. Raises CardError."""
    for each in (each for each in sets(folder) if each.name == SECONDARY_SET):
        pictures = PictureSet.read(each, webcam_set.WEBCAM_SCALE)
        if pictures.pairs:
            return pictures
    raise CardError(
        f"There is no {SECONDARY_SET} for x{webcam_set.WEBCAM_SCALE} in {folder}",
        "a webcam model is also measured on that set, degraded",
        "Give a folder of test sets that has it.",
    )


def cleaning(model: CardModel, pictures: PictureSet) -> Iterator[str]:
    """Yield the tables of what the model makes of a degraded set: noisy as in the dark, and soft as in good light."""
    clean = model.name.replace(webcam_set.WEBCAM_SUFFIX, "").rsplit("-", 1)[0]
    names = [clean, model.name.rsplit("-", 1)[0]]
    soft = Degradation.soft_webcam().low
    for light, low in (("noisy", None), ("soft", soft)):
        yield (
            f"{pictures.name} degraded by scripts/training/degradation.py, {light}, seeds from "
            f"{webcam_set.DEGRADATION_SEED} on, PSNR in dB / SSIM:\n"
        )
        yield f"| degraded {pictures.name}, {light} | |"
        yield "|---|---:|"
        for found in webcam_set.measure(webcam_set.degraded(pictures, low), names):
            label = f"{found.name}, {found.precision}" if found.precision else found.name
            yield f"| {label} | {found.score.psnr:.2f} / {found.score.ssim:.4f} |"
        yield ""


def kept(file: Path) -> str:
    """Return what a card says from ORIGIN_HEADING on. Raises CardError."""
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    if ORIGIN_HEADING not in text:
        raise CardError(f"{file} does not say how the model was made", fix="Give --run and --hardware.")
    return text[text.index(ORIGIN_HEADING) :]


def origin(model: CardModel, hardware: str, data: Sequence[str]) -> Iterator[str]:
    """Yield the sections on how the model was made and what it is bad at."""
    recipe, last = model.recipe, model.log[-1]
    yield f"{ORIGIN_HEADING}\n"
    yield f"    python scripts/reproduce.py {model.name} --data {' '.join(data)} --eval Set5 Set14"
    yield f"    python scripts/export.py runs/{model.name}/checkpoint.pt engines/models/{model.name}.onnx"
    yield f"    python scripts/halve.py engines/models/{model.name}.onnx engines/models/{model.name}-fp16.onnx"
    yield f"    python scripts/quantize.py engines/models/{model.name}.onnx --data {' '.join(model.calibration)}\n"
    base = Path(recipe["start"]).stem if recipe.get("start") else ""
    begun = f", started from {base} (configs/train/{base}.yaml)" if base else ""
    picked_from = recipe.get("candidates", 1)
    chosen = f", each the one of {picked_from} with the most to learn," if picked_from > 1 else ""
    yield (
        f"- Recipe: configs/train/{model.name}.yaml, also in the file's metadata; seed {recipe['seed']}, "
        f"{recipe['steps']:,} steps of {recipe['batch']} crops of {recipe['crop']}x{recipe['crop']} low-resolution "
        f"pixels{chosen} in {recipe['precision']}, with {recipe.get('optimiser', 'adam').capitalize()}{begun}."
    )
    if recipe.get("teacher") and recipe.get("distil"):
        yield (
            f"- Besides the photographs, it learnt from {Path(recipe['teacher']).stem}: from the mean of its results "
            f"for each picture in eight positions. That loss has weight {recipe['distil']:g}, the photographs' has 1."
        )
        if recipe.get("untaught"):
            yield "- For pages of print (scripts/pages.py) it learnt from the originals only."
    if recipe.get("degradation"):
        degradations = recipe["degradation"] if isinstance(recipe["degradation"], list) else [recipe["degradation"]]
        ranges = "; or ".join(", ".join(f"{k} {v}" for k, v in each.items()) for each in degradations)
        yield (
            f"- From each photograph, {recipe['versions']} webcam pictures were made by "
            f"scripts/training/degradation.py, which explains the values: {ranges}."
        )
    if recipe.get("sharpened_targets"):
        values = ", ".join(f"{k} {v:g}" for k, v in recipe["sharpened_targets"].items())
        yield (
            "- It learnt to make sharpened photographs: scripts/training/target_sharpening.py, which explains the "
            f"values: {values}."
        )
    before = ", for this last run; docs/training-data.md has the times of the runs before it" if base else ""
    yield f"- {amount(round(float(last['seconds']) / 60), 'minute')} on {hardware}{before}."
    tests = [key for key in last if key not in ("step", "seconds", "loss")]
    picked = [model.log[i * (len(model.log) - 1) // 4] for i in range(5)] if len(model.log) > 4 else model.log
    way = "; ".join(f"{' / '.join(row[t] for t in tests)} after {int(row['step']):,} steps" for row in picked)
    plain = "clean pictures, before coring, dB" if recipe.get("coring") else "clean pictures, dB"
    yield f"- During training, {' / '.join(tests)} reached ({plain}): {way}. The file holds the last average."
    sets = "BSDS500" if "bsds500" in model.calibration else ", ".join(model.calibration)
    yield (
        "- The int8 file was quantised after training, with the scales of least squared error on 30 photographs of "
        f"{sets}."
    )
    in_short = "free" if model.terms == FREE else "research use only, because of BSDS500"
    yield f"- Data and terms of use: docs/training-data.md. In short: {in_short}.\n"
    yield "## What it is bad at\n"
    yield WEBCAM_WEAKNESS if model.webcam else CLEAN_WEAKNESS
    if recipe.get("sharpened_targets"):
        yield SHARPENING_WEAKNESS


def amount(count: int, what: str) -> str:
    """Return such as "1 minute" or "2 minutes"."""
    return f"{count} {what}" + "s" * (count != 1)


def card(model: CardModel, folder: Path, origin_text: str) -> str:
    """Return the whole text, which ends with how the model was `made`.

    Raises CardError, EvaluateError, EngineError.
    """
    worse = to_degrade(folder) if model.webcam else None
    results = sorted(evaluate(folder, "openvino", [model.name]), key=lambda result: place(result.set))
    lines = [*what(model), *figures(model, results)]
    if worse:
        lines += cleaning(model, worse)
    return heading(model, results) + "\n".join(map(wrapped, lines)) + f"\n{origin_text}"


def wrapped(line: str) -> str:
    """Return a paragraph or an item of a list in lines of 120 characters.

    Tables and commands stay as they are.
    """
    if line.startswith(("|", " ", "#")):
        return line
    end = "\n" if line.endswith("\n") else ""
    return (
        textwrap.fill(line, 120, break_on_hyphens=False, subsequent_indent="  " if line.startswith("- ") else "") + end
    )
