"""The process that app/sinks/window/window_process.py starts, with the window in it.

python -m app.sinks.window.worker SOCKET MEMORY
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import sys
from functools import partial
from typing import Any

import numpy as np

from app.errors import SinkError
from app.overlays.view_state import ViewState
from app.pipeline.frame import Frame, OutputFrame
from app.sinks.window.opencv_window import OpenCvWindow
from engines.base import Image
from engines.support import event_log
from engines.support.child_process import inherited

ACTIONS = "quit", "record", "snapshot"


def picture(memory: mmap.mmap, height: int, width: int) -> OutputFrame:
    """The one in the memory."""
    image: Image = np.frombuffer(memory, np.uint8, height * width * 3).reshape(height, width, 3)
    return OutputFrame(image, Frame(image, 0, 0.0, 0.0))


def main(arguments: list[str]) -> None:
    """Shows what it is told to, and answers with what the user wants, until its parent's end."""
    link, descriptor = inherited(arguments)
    asked = json.loads(link.recv_bytes())
    event_log.configure(**asked["log"])
    view, wanted = ViewState(), list[str]()
    actions = {name: partial(wanted.append, name) for name in ACTIONS}
    try:
        window = OpenCvWindow(asked["title"], view, actions)
    except SinkError as error:
        link.send_bytes(json.dumps({"problem": error.problem, "facts": error.facts, "fix": error.fix}).encode())
        return
    link.send_bytes(b"{}")
    memory: mmap.mmap | None = None
    with contextlib.suppress(EOFError, OSError):
        while True:
            told: dict[str, Any] = json.loads(link.recv_bytes())
            for name, value in told["view"].items():
                setattr(view, name, value)
            window.obey(view, actions, locked=told["locked"])
            if told["shape"] is None:
                window.poll()
            else:
                height, width = told["shape"]
                if memory is None or len(memory) < height * width * 3:
                    memory = mmap.mmap(descriptor, 0)
                window.write(picture(memory, height, width))
            changed = {name: now for name, was in told["view"].items() if (now := getattr(view, name)) != was}
            link.send_bytes(json.dumps({"view": changed, "actions": wanted}).encode())
            wanted.clear()
    window.close()
    os._exit(0)  # no farewell to a display that may be gone


if __name__ == "__main__":
    main(sys.argv[1:])
