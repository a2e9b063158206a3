"""Controls of V4L2 cameras: exposure, white balance, the frequency of lamps and whatever else a driver lets be set."""

from __future__ import annotations

import contextlib
import difflib
import logging
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.errors import SourceError
from engines.support.event_log import log_event

if sys.platform.startswith("linux"):
    # At the top, as in app.sources.v4l2. Of linuxpy its calls to the driver, not its Controls: those clip a value that
    # is out of range without a word, and one control with odd limits makes all of them unreadable.
    from linuxpy.ioctl import ioctl
    from linuxpy.video import raw
    from linuxpy.video.device import ControlFlag, ControlType, get_control, set_control
    from linuxpy.video.device import Device as LinuxpyDevice

log = logging.getLogger(__name__)

NUMBERS, SWITCHES, MENUS = ("INTEGER", "BITMASK"), ("BOOLEAN",), ("MENU", "INTEGER_MENU")
"""Kinds of controls that can be set, by V4L2's names. The others are headings, buttons, texts and structures."""


@dataclass(frozen=True)
class Control:
    """A control as its camera describes it at the moment."""

    id: int
    """The driver's number for it."""
    name: str
    """As v4l2-ctl spells it, e.g. exposure_time_absolute."""
    kind: str
    """One of NUMBERS, SWITCHES or MENUS."""
    minimum: int
    maximum: int
    step: int
    default: int
    value: int | None
    """The current value; None if the driver does not tell."""
    entries: Mapping[int, str] = field(default_factory=dict)
    """What the values of a menu mean; empty for the other kinds."""
    inactive: bool = False
    """Whether the camera sets it by itself at the moment, such as the exposure time while auto_exposure is on."""
    locked: str = ""
    """Why it cannot be set; else empty."""

    @property
    def range(self) -> str:
        """The values it takes, for people."""
        if self.entries:
            return "one of " + ", ".join(f"{number} ({text})" for number, text in self.entries.items())
        if self.kind in SWITCHES:
            return "0 or 1"
        steps = f" in steps of {self.step}" if self.step > 1 else ""
        return f"{self.minimum} to {self.maximum}{steps}"

    def __str__(self) -> str:
        now = "?" if self.value is None else self.value
        notes = [self.locked] if self.locked else ["inactive"] if self.inactive else []
        return "; ".join([f"{self.name}={now}, default {self.default}", self.range, *notes])

    def parse(self, value: int | str) -> int:
        """Return the number for `value`, which may be a menu's text. Raises ValueError if this takes no such value."""
        if isinstance(value, str):
            by_text = {text.casefold(): number for number, text in self.entries.items()}
            if value.strip().casefold() not in by_text:
                raise ValueError
            return by_text[value.strip().casefold()]
        if not self.minimum <= value <= self.maximum or (self.entries and value not in self.entries):
            raise ValueError
        return value


def control_name(title: str) -> str:
    """Return the name that v4l2-ctl makes of a driver's title: "Exposure Time, Absolute" is exposure_time_absolute."""
    return "_".join(re.findall("[a-z0-9]+", title.lower()))


def controls_of(path: str | Path) -> list[Control]:
    """Return what can be set on the camera at `path`, in the driver's order; [] if nothing can. Never raises."""
    with contextlib.suppress(Exception), LinuxpyDevice(str(path)) as device:
        return _read(device)
    return []


def set_controls(path: str | Path, wanted: Mapping[str, int | str]) -> None:
    """Set the controls of the camera at `path` to the values `wanted`, by name.

    Menus and switches are set before numbers, whatever the order: they decide whether the camera sets a number itself.

    Raises:
        SourceError: There is no such control, or it does not take the value. If that can be known beforehand, nothing
            has been set.
    """
    try:
        with LinuxpyDevice(str(path)) as device:
            _set(device, path, wanted)
    except OSError as error:
        reason = error.strerror or str(error)
        raise SourceError(f"The controls of the camera {path} cannot be read", reason, "Leave --control out.") from None


def _set(device: Any, path: str | Path, wanted: Mapping[str, int | str]) -> None:
    known = {control.name: control for control in _read(device)}
    values = {name: _checked(path, known, name, value) for name, value in wanted.items()}
    for name in sorted(values, key=lambda name: known[name].kind in NUMBERS):  # stable
        try:
            set_control(device, known[name].id, values[name])
        except OSError as error:
            reason = error.strerror or str(error)
            by_itself = next((control.inactive for control in _read(device) if control.name == name), False)
            raise SourceError(
                f"The camera {path} does not take {name}={values[name]}",
                f"{reason}; it sets this by itself at the moment"
                if by_itself
                else f"{reason}; it takes {known[name].range}",
                "Switch off what is automatic with another --control, such as auto_exposure=1 for the exposure time.",
            ) from None
    now = {control.name: control for control in _read(device)}
    message = "camera %(path)s: %(control)s is %(value)s, not %(requested)s as requested: %(reason)s"
    for name, value in values.items():
        control = now[name]
        if control.value not in (value, None) or control.inactive:
            reason = "the camera sets it by itself" if control.inactive else f"it takes {control.range}"
            fields: dict[str, Any] = {"control": name, "value": control.value, "requested": value, "reason": reason}
            log_event(log, logging.WARNING, "camera_control_ignored", message, path=path, **fields)
    settings = ", ".join(f"{name}={value}" for name, value in values.items())
    log_event(log, logging.INFO, "camera_controls", "camera %(path)s: %(controls)s", path=path, controls=settings)


def _checked(path: str | Path, known: Mapping[str, Control], name: str, value: int | str) -> int:
    """Return the number to set control `name` to. Raises SourceError."""
    control = known.get(name)
    if control is None:
        near = difflib.get_close_matches(name, known, 1, 0.5)
        hint = f"Did you mean {near[0]}? " if near else ""
        facts = f"it has: {', '.join(known)}" if known else "it has no controls that can be set"
        raise SourceError(f"The camera {path} has no control {name}", facts, f"{hint}--list shows each with its range.")
    if control.locked:
        raise SourceError(f"{name} of the camera {path} cannot be set", f"it is {control.locked}", "Leave it out.")
    try:
        return control.parse(value)
    except ValueError:
        raise SourceError(
            f"{name} of the camera {path} cannot be {value}",
            f"it takes {control.range}; the default is {control.default}, now it is {control.value}",
            "Give one of these values; --list shows the ranges of all controls.",
        ) from None


def _read(device: Any) -> list[Control]:
    """Return the controls of an open device that have one number as their value."""
    controls = []
    for info in device.info.controls:
        with contextlib.suppress(ValueError):  # a kind that this linuxpy does not know
            kind, flags = ControlType(info.type).name, ControlFlag(info.flags)
            if kind in (*NUMBERS, *SWITCHES, *MENUS) and ControlFlag.DISABLED not in flags:
                controls.append(_control(device, info, kind, flags))
    return controls


def _control(device: Any, info: Any, kind: str, flags: Any) -> Control:
    value = None
    if ControlFlag.WRITE_ONLY not in flags:
        with contextlib.suppress(OSError):
            value = get_control(device, info.id)
    locks = {ControlFlag.READ_ONLY: "read-only", ControlFlag.GRABBED: "held by another program"}
    return Control(
        info.id,
        control_name(info.name.decode("utf-8", "replace")),
        kind,
        info.minimum,
        info.maximum,
        info.step,
        info.default_value,
        value,
        _entries(device, info, kind) if kind in MENUS else {},
        inactive=ControlFlag.INACTIVE in flags,
        locked=next((why for flag, why in locks.items() if flag in flags), ""),
    )


def _entries(device: Any, info: Any, kind: str) -> dict[int, str]:
    """Return the entries of a menu, whose numbers may have gaps."""
    entries = {}
    for index in range(info.minimum, info.maximum + 1):
        entry = raw.v4l2_querymenu()
        entry.id, entry.index = info.id, index
        with contextlib.suppress(OSError):
            ioctl(device, raw.IOC.QUERYMENU, entry)
            entries[index] = entry.name.decode("utf-8", "replace") if kind == "MENU" else str(entry.value)
    return entries
