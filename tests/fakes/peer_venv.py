"""An environment for scripts/evaluation/peers.py without OpenCV's contrib module.

The processes are real, the network is not.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from scripts.evaluation import peers

STAND_IN = '''
"""What dnn_superres.py needs of OpenCV's contrib module: nearest neighbours."""
import sys
import numpy as np

def setNumThreads(count):
    print("OpenCV's chatter", count)

class Network:
    def readModel(self, file):
        if "broken" in file:
            raise SystemExit("cv2.error: no such layer")
    def setModel(self, name, scale):
        self.name, self.scale = name, scale
    def upsample(self, image):
        if image.min() == 255:
            raise SystemExit("out of memory")
        return image.repeat(self.scale, 0).repeat(self.scale, 1)

class dnn_superres:
    DnnSuperResImpl_create = Network
'''


def install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Makes it in `folder`, and the environment that scripts/evaluation/peers.py takes; returns its Python."""
    (folder / "site").mkdir()
    (folder / "site/cv2.py").write_text(STAND_IN)
    numpy = Path(np.__file__).parent.parent
    own = folder / "python"
    own.write_text(
        f"#!/bin/sh\nshift\n"  # -I, which would not see these folders
        f'PYTHONPATH="{folder / "site"}:{numpy}" exec "{sys.executable}" -S "$@"\n'
    )
    own.chmod(0o755)
    monkeypatch.setattr(peers, "environment", lambda: own)
    return own
