"""The TensorRT engine over a CUDA that is lazy on purpose: thousands of schedules, and every synchronisation missed."""

from __future__ import annotations
import __future__

import ast
import functools
import inspect
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines import slot_engine
from engines.cuda import slot as cuda_slot
from engines.errors import EngineError
from engines.request import EngineRequest
from engines.tensorrt import engine as tensorrt_engine
from tests.fakes import cuda_scheduler
from tests.fakes.cuda import Machine, install
from tests.fakes.cuda_scheduler import MODEL, SIZE, check_clean, chosen, drive, pictures

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache folder of the module's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@settings(max_examples=2000)
@given(st.binary(max_size=48))
def test_any_schedule_gives_the_same_pictures_in_order(content: bytes) -> None:
    with pytest.MonkeyPatch.context() as patch:
        drive(patch, chosen(content))


@pytest.mark.parametrize("integrated", [False, True], ids=["copied", "mapped"])
def test_a_submitter_and_a_collector(monkeypatch: pytest.MonkeyPatch, integrated: bool) -> None:
    machine = Machine(random.Random(5).randrange, integrated=integrated)
    install(monkeypatch, machine)
    with tensorrt_engine.load(EngineRequest("tensorrt", MODEL, SIZE, depth=2)) as engine:

        def submit() -> None:
            for number in range(200):
                if not engine.reserve():
                    return
                engine.submit(pictures()[number % cuda_scheduler.FRAMES][0], number)
            engine.finish()

        thread = threading.Thread(target=submit, daemon=True)
        thread.start()
        count = 0
        while (done := engine.collect(20)) is not None:
            assert done[1] == count
            assert (done[0] == pictures()[count % cuda_scheduler.FRAMES][1]).all()
            count += 1
        thread.join(10)
    assert count == 200
    check_clean(machine)


# --- what happens without a synchronisation -------------------------------------------------------------------------

CLOCKS = {"started", "copied", "worked"}
"""Events that nothing waits for: they are there for the stage times."""


def elsewhere(slot: Any) -> Any:
    """A stream that is not the slot's own."""
    if not hasattr(slot, "other"):
        slot.other = slot._driver.Stream()
    return slot.other


class Without(ast.NodeTransformer):
    """Removes the synchronisation number `number`; counts them in `found`.

    These are: the stream that an operation is put into, an answer that is waited for, the event after the last
    operation, a wait for a slot, and the context of the calling thread.
    """

    def __init__(self, number: int) -> None:
        self._number, self.found, self.what = number, 0, ""

    def _here(self, node: ast.AST) -> bool:
        self.found += 1
        if self.found - 1 != self._number:
            return False
        self.what = ast.unparse(node).splitlines()[0]
        return True

    def visit_With(self, node: ast.With) -> ast.AST:
        self.generic_visit(node)
        owners = {"self._device", "gpu"}
        if any(ast.unparse(item.context_expr) in owners for item in node.items) and self._here(node):
            kept = [item for item in node.items if ast.unparse(item.context_expr) not in owners]
            node.items = kept or [ast.withitem(ast.parse("contextlib.nullcontext()", mode="eval").body)]
        return node

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        text = ast.unparse(node)
        waits = ("done.record(", "slot.wait(WARM_UP_TIMEOUT_S)")
        if text.startswith(waits) and self._here(node):
            return ast.Pass()
        if any(text.startswith(f"{name}.record(") for name in CLOCKS):
            return node
        self.generic_visit(node)
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        asked = isinstance(node.func, ast.Attribute) and node.func.attr in ("query", "is_done")
        if asked:
            return ast.Constant(True) if self._here(node) else node
        self.generic_visit(node)
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        own = ast.unparse(node) == "self._stream" and isinstance(node.ctx, ast.Load)
        if own and self._here(node):
            return ast.parse("elsewhere(self)", mode="eval").body
        return node


def mutated(piece: Any, change: ast.NodeTransformer) -> Any:
    """`piece`, a class or function, made anew from its changed source in its own module's namespace."""
    tree = change.visit(ast.parse(inspect.getsource(piece)))
    code = compile(
        ast.fix_missing_locations(tree),
        piece.__module__,
        "exec",
        __future__.annotations.compiler_flag,
        dont_inherit=True,
    )
    made: dict[str, Any] = {}
    space = vars(inspect.getmodule(piece))
    space["elsewhere"] = elsewhere
    exec(code, space, made)
    return made[piece.__name__]


PIECES: list[Any] = [cuda_slot.CudaSlot, tensorrt_engine.make_slot, tensorrt_engine.log_layers, tensorrt_engine.load]


def removals() -> list[Any]:
    """One for every synchronisation in the engine."""
    found = []
    for piece in PIECES:
        count = Without(-1)
        count.visit(ast.parse(inspect.getsource(piece)))
        for number in range(count.found):
            one = Without(number)
            one.visit(ast.parse(inspect.getsource(piece)))
            found.append(pytest.param(piece, number, id=f"{piece.__name__} {number} {one.what}"))
    return found


def is_caught(run: Callable[[Any, Any], Any], most: int = 800) -> bool:
    """Whether one of `most` schedules shows that something is wrong."""
    for seed in range(most):
        with pytest.MonkeyPatch.context() as patch:
            try:
                run(patch, random.Random(seed).randrange)
            except (AssertionError, EngineError, TimeoutError):
                return True
            except Exception as error:  # the vendor's: a call without a context
                assert "context" in str(error), error
                return True
    return False


@pytest.mark.parametrize(("piece", "number"), removals())
def test_without_a_synchronisation_some_schedule_fails(
    monkeypatch: pytest.MonkeyPatch, piece: Any, number: int
) -> None:
    monkeypatch.setattr(tensorrt_engine, piece.__name__, mutated(piece, Without(number)))
    assert is_caught(functools.partial(drive, close_timeout=0.2))


def test_a_view_that_is_not_lent_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = ("self._borrowed = slot", "self._free.append(slot)")
    source = inspect.getsource(slot_engine.SlotEngine.collect).replace(*broken)
    made: dict[str, Any] = {}
    code = compile("if True:\n" + source, "slots", "exec", __future__.annotations.compiler_flag, dont_inherit=True)
    exec(code, vars(slot_engine), made)
    monkeypatch.setattr(slot_engine.SlotEngine, "collect", made["collect"])

    def hold(patch: Any, choose: Any) -> None:
        machine = Machine(choose)
        install(patch, machine)
        with tensorrt_engine.load(EngineRequest("tensorrt", MODEL, SIZE, depth=1)) as engine:
            for number in (0, 1):
                engine.reserve()
                engine.submit(pictures()[number][0], number)
                if number == 0:
                    done = engine.collect(5)
                    assert done is not None
                    view = done[0]
            assert (view == pictures()[0][1]).all()

    assert is_caught(hold)


def test_what_the_mutations_cover() -> None:
    """All five kinds are among them, and nothing else of the engine talks to CUDA in an order that matters."""
    names = [str(one.id) for one in removals()]
    for part in (
        "self._stream",
        "query()",
        "is_done()",
        "done.record",
        "slot.wait(WARM_UP_TIMEOUT_S)",
        "with self._device",
        "gpu",
    ):
        assert any(part in name for name in names), part
    engine = "\n".join(path.read_text() for path in Path(tensorrt_engine.__file__).parents[1].rglob("*.py"))
    for call in ("memcpy_htod_async", "memcpy_dtoh_async", ".query()", ".is_done()", "execute_async_v3("):
        assert engine.count(call) == 1, f"{call} stands in more places than the mutations know of"
