"""The process with the window in it, which app/sinks/window/window_process.py starts.

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

ACTIONS = "quit", "record", "snapshot", "stronger", "weaker"


def picture(memory: mmap.mmap, height: int, width: int) -> OutputFrame:
    """Return the picture in the memory, uint8 [height, width, 3], without copying it."""
    image: Image = np.frombuffer(memory, np.uint8, height * width * 3).reshape(height, width, 3)
    return OutputFrame(image, Frame(image, 0, 0.0, 0.0))


def main(arguments: list[str]) -> None:
    """Show pictures and answer with what the user wants, until the parent process ends."""
    link, descriptor = inherited(arguments)
    options = json.loads(link.recv_bytes())
    event_log.configure(**options["log"])
    view, wanted = ViewState(), list[str]()
    actions = {name: partial(wanted.append, name) for name in ACTIONS}
    try:
        window = OpenCvWindow(options["title"], view, actions)
    except SinkError as error:
        with contextlib.suppress(OSError):  # the parent has ended meanwhile
            link.send_bytes(json.dumps({"problem": error.problem, "facts": error.facts, "fix": error.fix}).encode())
        return
    memory: mmap.mmap | None = None
    with contextlib.suppress(EOFError, OSError):
        link.send_bytes(b"{}")
        while True:
            request: dict[str, Any] = json.loads(link.recv_bytes())
            view.update(request["view"])
            before = view.shared()
            window.obey(view, actions, locked=request["locked"])
            if request["shape"] is None:
                window.poll()
            else:
                height, width = request["shape"]
                if memory is None or len(memory) < height * width * 3:
                    memory = mmap.mmap(descriptor, 0)
                window.write(picture(memory, height, width))
            changed = {name: now for name, now in view.shared().items() if now != before[name]}
            link.send_bytes(json.dumps({"view": changed, "actions": wanted}).encode())
            wanted.clear()
    window.close()
    os._exit(0)  # without a word to a display that may be gone


if __name__ == "__main__":
    main(sys.argv[1:])
