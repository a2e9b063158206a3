"""Several equal engines behind one; each frame goes to the one with the fewest in flight."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from engines.base import Image
from engines.errors import EngineError, FrameRefusedError, as_engine_error
from engines.slot_engine import SlotEngine

log = logging.getLogger(__name__)

BACKEND_RETRY_S = 1.0
"""Seconds between two attempts at an engine that is away."""


class Backend:
    """One of the engines; `engine` is None while it is away."""

    def __init__(self, name: str, load: Callable[[], SlotEngine[Any]]) -> None:
        self.name, self.load = name, load
        self.engine: SlotEngine[Any] | None = None
        self.flying = self.launched = 0
        self.error: EngineError | None = None


class BackendPool:
    """Who is there. A thread looks for those who are not."""

    def __init__(self, members: Mapping[str, Callable[[], SlotEngine[Any]]]) -> None:
        """Raises EngineError, the first member's, when none can be had."""
        self._members = [Backend(name, load) for name, load in members.items()]
        self._guard = threading.Condition()
        self._holders: Counter[SlotEngine[Any]] = Counter()
        """How many slots are in an engine, which is not freed under them."""
        self._ending = False
        with ThreadPoolExecutor(len(self._members)) as pool:
            list(pool.map(self._try, self._members))
        self.first = next((member.engine for member in self._members if member.engine), None)
        if self.first is None:
            assert self._members[0].error is not None
            raise self._members[0].error
        self._threads = [
            threading.Thread(target=self._look, args=(member,), name="balance", daemon=True) for member in self._members
        ]
        for thread in self._threads:
            thread.start()

    def _try(self, member: Backend) -> None:
        try:
            engine = as_engine_error(member.name, member.load)
        except EngineError as error:
            if member.error is None:
                log.warning("%s is left out: %s", member.name, error.facts or error.problem)
            member.error = error
            return
        with self._guard:
            if not self._ending:
                member.engine, member.flying = engine, 0
                for one in self._members:  # else it would have every frame, until it has had as many as the others
                    one.launched = 0
                if member.error is not None:
                    log.warning("%s is here again", member.name)
                member.error = None
                return
        engine.free()

    def _look(self, member: Backend) -> None:
        """A thread for each: one that hangs while it is looked for keeps no other away."""
        while True:
            with self._guard:
                if self._guard.wait_for(lambda: self._ending, BACKEND_RETRY_S):
                    return
            if member.engine is None:
                self._try(member)

    def pick(self) -> tuple[Backend, SlotEngine[Any]]:
        """The member with the fewest frames in flight, and of these the one that had the fewest. Raises EngineError."""
        with self._guard:
            there = [member for member in self._members if member.engine is not None]
            if not there:
                raise next(member.error for member in self._members if member.error is not None)
            member = min(there, key=lambda one: (one.flying, one.launched))
            member.flying += 1
            member.launched += 1
            assert member.engine is not None
            self._holders[member.engine] += 1
            return member, member.engine

    def back(self, member: Backend, engine: SlotEngine[Any]) -> None:
        """A frame that pick() was asked for has left the engine, whose buffers it does not use any more."""
        with self._guard:
            if member.engine is engine:
                member.flying -= 1
            self._holders[engine] -= 1
            self._guard.notify_all()

    def lost(self, member: Backend, engine: SlotEngine[Any]) -> bool:
        """Whether lose() was called."""
        with self._guard:
            return member.engine is not engine

    def lose(self, member: Backend, engine: SlotEngine[Any], error: EngineError) -> None:
        """Leave a member out until it is found again."""
        with self._guard:
            if member.engine is not engine:
                return
            member.engine, member.error = None, error
        log.warning("%s is left out: %s", member.name, error.facts or error.problem)
        threading.Thread(target=self._dispose, args=(engine,), name="balance disposal", daemon=True).start()

    def _dispose(self, engine: SlotEngine[Any]) -> None:
        with self._guard:
            # At the end no slot is waited for any more: one whose frame was given up gives nothing back.
            self._guard.wait_for(lambda: self._ending or not self._holders[engine])
            self._holders.pop(engine, None)
        engine.free()

    def end(self) -> None:
        with self._guard:
            self._ending = True
            self._guard.notify_all()
            engines = [member.engine for member in self._members if member.engine]
            for member in self._members:
                member.engine = None
        for engine in engines:
            engine.free()
        until = time.monotonic() + BACKEND_RETRY_S
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))


class BalancedSlot:
    """One frame at whichever engine it was given to; one that fails or is late passes it on to another."""

    def __init__(self, team: BackendPool, index: int, late: float) -> None:
        self._team, self._index, self._late = team, index, late
        self._at: tuple[Backend, SlotEngine[Any]] | None = None
        self._until = 0.0
        assert team.first is not None
        self.input = team.first.slots[index].input
        self.finished = 0.0

    def launch(self, image: Image) -> None:
        while True:
            member, engine = self._team.pick()
            try:
                engine.slots[self._index].launch(image)
            except EngineError as error:
                self._team.lose(member, engine, error)
                self._team.back(member, engine)
                continue
            self._at, self._until = (member, engine), time.monotonic() + self._late
            self.input = engine.slots[self._index].input
            return

    def wait(self, timeout: float) -> Image:
        until = time.monotonic() + timeout
        while True:
            if self._at is None:  # nobody was there when it was passed on
                self.launch(self.input)
            assert self._at is not None
            member, engine = self._at
            slot, now = engine.slots[self._index], time.monotonic()
            lost = self._team.lost(member, engine)
            try:
                image = slot.wait(0.0 if lost else max(0.0, min(until, self._until) - now))
            except TimeoutError:
                if not lost and time.monotonic() < self._until:
                    raise
                late = f"no answer within {self._late * 1000:.0f} ms"
                self._team.lose(member, engine, EngineError(f"{member.name} is late", late))
                self._pass_on()
            except FrameRefusedError:  # it has to be borne: to pass it on would load the others until they refuse, too
                self._at = None
                self._team.back(member, engine)
                raise
            except EngineError as error:
                self._team.lose(member, engine, error)
                self._pass_on()
            else:
                self._team.back(member, engine)
                self.finished = slot.finished
                return image

    def _pass_on(self) -> None:
        """To another member, from the input that lies in this one."""
        assert self._at is not None
        before, self._at = self._at, None
        try:
            self.launch(self.input)
        finally:
            self._team.back(*before)

    def close(self) -> None:
        pass  # the engines' own slots are closed with them


def balanced(
    members: Mapping[str, Callable[[], SlotEngine[Any]]], depth: int, *, late: float, parting: float | None = None
) -> SlotEngine[Any]:
    """An engine over those of `members` that can be had. Raises EngineError when none can.

    A frame that is not done within `late` seconds goes to another member; `parting` as SlotEngine has it.
    """
    team = BackendPool(members)
    assert team.first is not None
    spec = replace(team.first.spec, device=", ".join(members))
    return SlotEngine(
        spec, [BalancedSlot(team, index, late) for index in range(depth)], parting=parting, close=team.end
    )
