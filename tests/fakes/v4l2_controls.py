"""The ioctls of a webcam's driver, as far as linuxpy uses them for controls: they behave as uvcvideo's do."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field
from typing import Any

from linuxpy.video import raw
from linuxpy.video.device import Capability, ControlFlag, ControlType

NEXT = ControlFlag.NEXT_CTRL | ControlFlag.NEXT_COMPOUND
USER, CAMERA = 0x00980000, 0x009A0000
"""The classes of controls, whose numbers begin with these."""


@dataclass
class FakeControl:
    title: str
    kind: str
    minimum: int = 0
    maximum: int = 1
    default: int = 0
    step: int = 1
    entries: dict[int, str | int] = field(default_factory=dict)
    needs: tuple[int, int] | None = None
    """Another control's number and the value that it must have; else this one is inactive."""
    flags: int = 0


def webcam() -> dict[int, FakeControl]:
    """The controls of a usual webcam by their numbers, with one kind in between that a program cannot set."""
    manual = (CAMERA | 0x901, 1)
    return {
        USER | 1: FakeControl("User Controls", "CTRL_CLASS"),
        USER | 0x900: FakeControl("Brightness", "INTEGER", -64, 64),
        USER | 0x90C: FakeControl("White Balance, Automatic", "BOOLEAN", default=1),
        USER | 0x918: FakeControl(
            "Power Line Frequency", "MENU", 0, 2, 2, entries={0: "Disabled", 1: "50 Hz", 2: "60 Hz"}
        ),
        USER | 0x91A: FakeControl("White Balance Temperature", "INTEGER", 2800, 6500, 4600, needs=(USER | 0x90C, 0)),
        CAMERA | 1: FakeControl("Camera Controls", "CTRL_CLASS"),
        CAMERA | 0x901: FakeControl(
            "Auto Exposure", "MENU", 0, 3, 3, entries={1: "Manual Mode", 3: "Aperture Priority Mode"}
        ),
        CAMERA | 0x902: FakeControl("Exposure Time, Absolute", "INTEGER", 3, 2047, 250, needs=manual),
        CAMERA | 0x903: FakeControl("Link Frequency", "INTEGER_MENU", 0, 1, entries={0: 297_000_000, 1: 594_000_000}),
        CAMERA | 0x910: FakeControl("Privacy", "BOOLEAN", flags=ControlFlag.READ_ONLY),
    }


class FakeDriver:
    """Stands in for the module fcntl inside linuxpy. One camera's controls, behind every device file."""

    def __init__(self) -> None:
        self.controls = webcam()
        self.values: dict[int, int] = {}
        self.set_names: list[str] = []
        """The titles of the controls that were set, in this order."""
        self.reset()

    def reset(self) -> None:
        """Forget what was set, as a camera does that loses its power."""
        self.values = {number: control.default for number, control in self.controls.items()}

    def value(self, title: str) -> int:
        return next(self.values[number] for number, control in self.controls.items() if control.title == title)

    def ioctl(self, file: Any, request: Any, argument: Any) -> int:
        os.fstat(file.fileno())  # raises what a closed file raises
        handlers = {
            raw.IOC.QUERYCAP: self._capabilities,
            raw.IOC.QUERY_EXT_CTRL: self._query,
            raw.IOC.QUERYMENU: self._menu,
            raw.IOC.G_CTRL: self._get,
            raw.IOC.S_CTRL: self._set,
        }
        if request not in handlers:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        handlers[request](argument)
        return 0

    def _capabilities(self, argument: Any) -> None:
        argument.card = b"Puppet"
        argument.capabilities = argument.device_caps = int(Capability.VIDEO_CAPTURE)

    def _query(self, argument: Any) -> None:
        number = argument.id & ~int(NEXT)
        if argument.id != number:
            number = next((known for known in self.controls if known > number), -1)
        control = self._known(number)
        argument.id, argument.name, argument.type = number, control.title.encode(), ControlType[control.kind]
        argument.minimum, argument.maximum, argument.step = control.minimum, control.maximum, control.step
        argument.default_value = control.default
        argument.flags = control.flags | (ControlFlag.INACTIVE if self._inactive(control) else 0)

    def _menu(self, argument: Any) -> None:
        entries = self._known(argument.id).entries
        if argument.index not in entries:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        entry = entries[argument.index]
        if isinstance(entry, str):
            argument.name = entry.encode()
        else:
            argument.value = entry

    def _get(self, argument: Any) -> None:
        self._known(argument.id)
        argument.value = self.values[argument.id]

    def _set(self, argument: Any) -> None:
        control = self._known(argument.id)
        if self._inactive(control) or control.flags & ControlFlag.READ_ONLY:
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        if not control.minimum <= argument.value <= control.maximum:
            raise OSError(errno.ERANGE, os.strerror(errno.ERANGE))
        self.values[argument.id] = argument.value
        self.set_names.append(control.title)

    def _known(self, number: int) -> FakeControl:
        if number not in self.controls:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return self.controls[number]

    def _inactive(self, control: FakeControl) -> bool:
        return control.needs is not None and self.values[control.needs[0]] != control.needs[1]
