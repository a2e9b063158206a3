"""That a run is repeatable and can be resumed, what it writes, what it refuses."""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.support.tiny_training import STEPS, advance, measured, photos_of, pictures, recipe, save, training, written

if TYPE_CHECKING:
    from scripts.training.trainer import Training

pytestmark = pytest.mark.torch

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Threads that wait for each other at every layer of a tiny network crawl when a core is busy elsewhere."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return pictures(tmp_path / "photos")


def state(run: Training) -> list[float]:
    """All weights, current and averaged."""
    both = (*run.network.parameters(), *run.average.parameters())
    return [float(value) for p in both for value in p.detach().flatten()]


@pytest.mark.parametrize("optimiser", ["adam", "muon"])
def test_two_runs_are_equal_and_learn_something(folder: Path, optimiser: str) -> None:
    first, second = training(folder, optimiser=optimiser), training(folder, optimiser=optimiser)
    losses = advance(first)
    assert losses == advance(second)
    assert state(first) == state(second)
    finish = int(0.6 * STEPS)  # where the loss changes its kind
    assert np.mean(losses[finish - 4 : finish]) < np.mean(losses[:4])
    assert advance(training(folder, seed=4), 1) != losses[:1]


@pytest.mark.integration
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_hundred_steps_of_a_shipped_recipe_twice(folder: Path, precision: Any) -> None:
    from scripts.training.recipe import Recipe
    from scripts.training.trainer import Training

    shipped = Recipe.read(ROOT / "configs/train/fast-webcam-x2.yaml")
    small = replace(
        shipped, start="engines/models/fast-x2.onnx", precision=precision, batch=2, crop=16, versions=2, longest=96
    )
    losses = []
    for workers in (0, 1):
        photos = photos_of(folder, degradations=small.degradations(), versions=small.versions, seed=small.seed)
        losses.append(advance(Training(small, photos, device="cpu", compiled=False, workers=workers), 100))
    assert losses[0] == losses[1] and len(losses[0]) == 100


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("precision", "compiled", "apart"), [("fp32", False, 0.01), ("bf16", False, 0.05), ("fp16", True, 0.05)]
)
def test_a_gpu_learns_what_the_processor_does(folder: Path, precision: Any, compiled: bool, apart: float) -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip(f"PyTorch {torch.__version__} sees no GPU")
    taught: dict[str, Any] = {"teacher": "engines/models/fast-x2.onnx", "distil": 0.5, "optimiser": "muon"}
    wanted = advance(training(folder, **taught))
    run = training(folder, **taught, precision=precision, device="cuda", compiled=compiled)
    assert advance(run) == pytest.approx(wanted, rel=apart)
    again = training(folder, **taught, precision=precision, device="cuda", compiled=compiled)
    assert len(advance(again)) == STEPS and state(again) == pytest.approx(state(run), rel=0.02, abs=0.002)


def test_a_teacher_is_learnt_from(folder: Path) -> None:
    taught: dict[str, Any] = {"teacher": "engines/models/fast-x2.onnx", "distil": 5.0, "steps": 100}
    alone, first, second = training(folder, steps=100), training(folder, **taught), training(folder, **taught)
    low, _, wanted = (pictures.permute(0, 3, 1, 2).float() / 255 for pictures in next(iter(first.batches())))

    def apart(run: Training) -> float:
        return float((run.network(low) - wanted).detach().abs().mean())

    assert advance(first, 100) == advance(second, 100)
    advance(alone, 100)
    assert apart(first) < apart(alone)


def test_a_teacher_looks_from_all_sides(folder: Path) -> None:
    """A picture that is turned or mirrored is taught turned or mirrored, which its network does not do by itself."""
    teacher = recipe(teacher="engines/models/fast-x2.onnx", distil=1.0).build_teacher()
    assert teacher is not None
    low = photos_of(folder).lows[0][0]
    made = teacher(low)
    assert made.shape == (2 * low.shape[0], 2 * low.shape[1], 3) and made.dtype == np.uint8
    for seen, wanted in ((np.rot90(low), np.rot90(made)), (low[:, ::-1], made[:, ::-1])):
        assert np.abs(teacher(seen).astype(int) - wanted).max() <= 1  # added up in another order
    import torch

    alone = teacher._enlarged(torch.from_numpy(low).permute(2, 0, 1)[None].float() / 255)[0].permute(1, 2, 0)
    assert np.abs(255 * alone.numpy() - made).max() > 2


def test_what_a_teacher_does_not_know_is_learnt_from_the_truth(folder: Path) -> None:
    made = recipe(teacher="engines/models/fast-x2.onnx", distil=1.0, untaught="1.*", sizes=(1.0, 0.75))
    photos = made.photos([folder])
    same = [np.array_equal(high, target) for high, target in zip(photos.highs, photos.teacher_targets, strict=True)]
    assert photos.names == [f"{number}.png" for number in (0, 0, 1, 1, 2, 2)]
    assert same == [name == "1.png" for name in photos.names]


def test_a_teacher_of_another_scale_is_refused(folder: Path) -> None:
    from scripts.conversion.exporter import ExportError

    with pytest.raises(ExportError, match="enlarges 4 times, not 2"):
        training(folder, teacher="engines/models/fast-x4.onnx", distil=0.5)


def test_an_older_checkpoint_is_resumed(folder: Path, tmp_path: Path) -> None:
    """One whose recipe had not all of today's lines."""
    import torch

    run, path = training(folder), tmp_path / "checkpoint.pt"
    advance(run, 3)
    run.save(path)
    state = torch.load(path, weights_only=True)
    del state["recipe"]["teacher"], state["recipe"]["distil"]
    torch.save(state, path)
    again = training(folder)
    again.resume(path)
    assert again.step == 3


@pytest.mark.parametrize(("optimiser", "rates"), [("adam", [0.005]), ("muon", [0.005, 0.0025])])
def test_every_weight_has_one_optimiser_and_learns(folder: Path, optimiser: str, rates: list[float]) -> None:
    run = training(folder, optimiser=optimiser)
    before = [p.detach().clone() for p in run.network.parameters()]
    held = [id(p) for o in run.optimisers for group in o.param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in run.network.parameters())
    advance(run, 2)
    assert all((p != old).any() for p, old in zip(run.network.parameters(), before, strict=True))
    assert [o.param_groups[0]["lr"] for o in run.optimisers] == pytest.approx(rates)


@pytest.mark.parametrize("optimiser", ["adam", "muon"])
def test_a_resumed_run_ends_like_an_uninterrupted_one(folder: Path, tmp_path: Path, optimiser: str) -> None:
    whole, early, late = (training(folder, optimiser=optimiser) for _ in range(3))
    advance(whole)
    advance(early, 7)
    early.save(tmp_path / "checkpoint.pt")
    late.resume(tmp_path / "checkpoint.pt")
    assert late.step == 7
    advance(late)
    assert state(late) == state(whole)


def test_a_checkpoint_of_another_recipe_is_refused(folder: Path, tmp_path: Path) -> None:
    from scripts.training.run_log import TrainError

    training(folder).save(tmp_path / "checkpoint.pt")
    with pytest.raises(TrainError, match=r"another run\n.*other: seed\n.*another --out, or delete it"):
        training(folder, seed=4).resume(tmp_path / "checkpoint.pt")


def test_a_checkpoint_of_other_photographs_or_files_is_refused(folder: Path, tmp_path: Path) -> None:
    import torch

    from scripts.training.run_log import TrainError

    files = {key: tmp_path / f"{key}-x2.onnx" for key in ("start", "teacher")}
    for file in files.values():
        shutil.copy(ROOT / "engines/models/fast-x2.onnx", file)
    changes: dict[str, Any] = {key: str(file) for key, file in files.items()}
    changes |= {"distil": 1.0, "channels": 16, "depth": 5}
    path, run = tmp_path / "checkpoint.pt", training(folder, **changes)
    run.save(path)
    training(folder, **changes).resume(path)
    shutil.copy(ROOT / "engines/models/fast-webcam-x2.onnx", files["teacher"])
    save(folder / "4.png", 4)
    other = training(folder, **changes)
    with pytest.raises(TrainError, match="other: photographs, content of teacher\n"):
        other.resume(path)
    older = torch.load(path, weights_only=True)
    del older["inputs"]
    torch.save(older, path)
    other.resume(path)


@pytest.mark.parametrize("kind", ["cut", "empty", "text", "foreign", "older", "newer", "list"])
def test_what_is_no_checkpoint_is_one_message(folder: Path, tmp_path: Path, kind: str) -> None:
    import torch

    from scripts.training.run_log import TrainError

    run, path = training(folder), tmp_path / "checkpoint.pt"
    run.save(path)
    whole, values = path.read_bytes(), torch.load(path, weights_only=True)
    if kind in ("cut", "empty", "text"):
        path.write_bytes({"cut": whole[: len(whole) // 2], "empty": b"", "text": b"no checkpoint at all"}[kind])
    else:
        older = {key: value for key, value in values.items() if key != "optimisers"}
        newer = values | {"recipe": values["recipe"] | {"mood": "good"}}
        torch.save({"foreign": {"epoch": 3}, "older": older, "newer": newer, "list": [1, 2]}[kind], path)
    with pytest.raises(
        TrainError, match=r"is not a checkpoint of this version\n.*\n.*another --out, or delete it"
    ) as caught:
        run.resume(path)
    assert len(str(caught.value).splitlines()) == 3


class Command:
    """The command line, its files, and what it has logged."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.out = folder, folder / "out"
        self.photos, self.recipe = pictures(folder / "photos"), written(folder / "tiny.yaml")
        self.sets = [str(measured(folder / name)) for name in ("A", "B")]

    def arguments(self, *more: str) -> list[str]:
        return [str(self.recipe), "--data", str(self.photos), "--out", str(self.out), "--every", "8", *more]

    def __call__(self, *more: str) -> int:
        from scripts import train

        return train.main(self.arguments(*more))

    @property
    def rows(self) -> list[list[str]]:
        with (self.out / "log.csv").open(newline="") as file:
            return list(csv.reader(file))

    @property
    def step(self) -> int:
        import torch

        return int(torch.load(self.out / "checkpoint.pt", weights_only=True)["step"])


@pytest.fixture
def command(tmp_path: Path) -> Command:
    return Command(tmp_path)


def test_the_command_line_writes_a_checkpoint_and_a_log(command: Command) -> None:
    assert command() == 0
    assert [row[0] for row in command.rows] == ["step", "8", "16", "20"] and command.step == STEPS
    assert "<svg" in (command.out / "log.svg").read_text()
    assert sorted(file.name for file in command.out.iterdir()) == ["checkpoint.pt", "log.csv", "log.svg"]
    before = (command.out / "log.csv").read_bytes()
    assert command() == 0  # nothing is left to do, and nothing is done twice
    assert (command.out / "log.csv").read_bytes() == before


class Died(BaseException):
    """No error that anybody catches."""


def test_a_run_that_dies_between_its_log_and_its_checkpoint_has_every_line_once(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    from scripts.training.trainer import Training

    save = Training.save

    def dies(run: Training, path: Path) -> None:
        if run.step == STEPS:
            raise Died
        save(run, path)

    monkeypatch.setattr(Training, "save", dies)
    with pytest.raises(Died):
        command()
    monkeypatch.undo()
    assert command.step == 16
    assert command() == 0
    assert [row[0] for row in command.rows] == ["step", "8", "16", "20"] and command.step == STEPS


def test_a_run_that_dies_while_it_measures_comes_to_its_last_line(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    from scripts.training import trainer

    def dies(*_: Any) -> float:
        raise Died

    monkeypatch.setattr(trainer, "validate", dies)
    with pytest.raises(Died):
        command("--every", "100", "--eval", command.sets[0])
    monkeypatch.undo()
    assert command("--every", "100", "--eval", command.sets[0]) == 0
    assert [row[0] for row in command.rows] == ["step", "20"] and command.step == STEPS


def test_a_run_without_its_checkpoint_begins_its_log_anew(command: Command) -> None:
    assert command() == 0
    (command.out / "checkpoint.pt").unlink()
    assert command() == 0
    assert [row[0] for row in command.rows] == ["step", "8", "16", "20"]


@pytest.mark.parametrize("end", ["3000,12", "3000,120,0.01,30.1", "3000,120\r\n"])
def test_half_a_line_of_a_log_is_dropped(command: Command, end: str) -> None:
    from scripts.training.run_log import RunLog

    command.out.mkdir()
    (command.out / "log.csv").write_text(f"step,seconds,loss,A\r\n8,50,0.020000,29.000\r\n{end}", newline="")
    log = RunLog(command.out, [Path("A")])
    log.resume(8)
    log.write(16, 0.01, [30.0])
    assert [row[0] for row in command.rows] == ["step", "8", "16"]
    assert int(command.rows[-1][1]) >= 50  # of both parts


@pytest.mark.parametrize("sets", [(1, 0), (0,), (0, 1, 2), ()])
def test_other_test_sets_are_refused_in_a_run_that_goes_on(
    command: Command, sets: tuple[int, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("--eval", *command.sets) == 0
    before, names = (command.out / "log.csv").read_bytes(), [*command.sets, str(measured(command.folder / "C"))]
    assert command("--eval", *(names[index] for index in sets)) == 2
    told = capsys.readouterr().err
    assert "was written for other test sets" in told and "step, seconds, loss, A, B" in told
    assert (command.out / "log.csv").read_bytes() == before


def test_the_logged_time_is_that_of_all_the_work(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """What reading the photographs takes, and before it the teacher, is part of it."""
    from scripts.training.recipe import Recipe

    passed = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: passed[0])
    photos = Recipe.photos

    def slowly(*arguments: Any) -> Any:
        passed[0] += 100
        return photos(*arguments)

    monkeypatch.setattr(Recipe, "photos", slowly)
    assert command() == 0
    assert {row[1] for row in command.rows[1:]} == {"100"}


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--every", "0"], "--every: it must be a whole number of at least 1"),
        (["--workers", "-1"], "--workers: it must be a whole number of at least 0"),
        (["--device", "foo"], "There is no device 'foo'"),
        (["--device", "meta"], "There is no device 'meta'"),
        (["--eval", "missing"], "missing is no test set for x2"),
        (["--eval", "A", "other/A"], "Two test sets have one name"),
        (["--out", "tiny.yaml"], "tiny.yaml"),
        (["--data", "photos", "missing"], "There is no folder missing"),
    ],
)
def test_wrong_usage_is_one_message_before_any_work(
    command: Command, more: list[str], told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    measured(command.folder / "other/A")
    monkeypatch.chdir(command.folder)
    try:
        status = command(*more)
    except SystemExit as ended:  # argparse's own way
        status = int(str(ended.code))
    assert status == 2 and told in capsys.readouterr().err
    assert not (command.out / "log.csv").exists()


def test_a_device_that_is_not_there(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("it is")
    assert command("--device", "cuda") == 2
    assert "There is no device 'cuda'" in capsys.readouterr().err


@pytest.mark.gpu
def test_a_gpu_with_too_little_memory(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    free, total = torch.cuda.mem_get_info()
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + (4 << 20)) / total)
    written(command.recipe, batch=64)
    try:
        assert command() == 2, f"{free} bytes are free"
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert "The GPU has too little memory\n  CUDA out of memory" in capsys.readouterr().err


@pytest.mark.gpu
def test_the_command_line_learns_on_a_gpu_by_itself(command: Command) -> None:
    assert command("--compile", "--eval", command.sets[0]) == 0
    assert len(command.rows) == 4 and (command.out / "checkpoint.pt").exists()


def test_a_test_set_of_another_scale_is_refused(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    written(command.recipe, scale=3, crop=8)
    assert command("--eval", command.sets[0]) == 2
    assert "A is no test set for x3" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("start", "told"),
    [("runs/none-x2.onnx", "none-x2.onnx"), ("engines/models/fast-x2.onnx", "can only start from a smaller one")],
)
def test_what_cannot_be_begun_with_is_told_before_anything_is_read(
    command: Command, start: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    written(command.recipe, start=start)
    assert command("--data", "missing") == 2
    assert told in capsys.readouterr().err
    assert not command.out.exists(), "a folder is left of a run that was none"


@pytest.mark.integration
def test_a_full_disk_is_one_message_and_leaves_nothing_behind(command: Command) -> None:
    """A limit on a file's size does the same to who writes."""
    written(command.recipe, channels=16, depth=3, expand=16)
    program = [sys.executable, str(ROOT / "scripts/train.py"), *command.arguments("--device", "cpu")]
    done = subprocess.run(
        ["sh", "-c", 'ulimit -f 128; exec "$@"', "sh", *program], capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 2, done.stderr
    assert "checkpoint.pt cannot be written\n  File too large" in done.stderr and "Traceback" not in done.stderr
    assert sorted(file.name for file in command.out.iterdir()) == ["log.csv", "log.svg"]


def test_the_loss_is_luma_and_a_share_of_colour() -> None:
    import torch

    from scripts.training.trainer import loss_of

    truth = torch.zeros(1, 3, 2, 2)
    out = truth.clone()
    out[:, 1] = 0.5  # green: 128.553 / 255 of luma, a third of all values
    luma = 0.5 * 128.553 / 255
    assert float(loss_of(recipe(), 0, out, truth)) == pytest.approx(luma + 0.25 * 0.5 / 3)
    assert float(loss_of(recipe(), STEPS - 1, out, truth)) == pytest.approx(luma**2 + 0.25 * 0.25 / 3)
