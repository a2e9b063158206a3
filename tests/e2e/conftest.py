"""What the tests of the kiosk share: a camera that is plugged in, and a configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.kiosk.fake_camera import FakeDevDir
from tests.support.service_manager import write


@pytest.fixture
def dev(tmp_path: Path) -> FakeDevDir:
    made = FakeDevDir(tmp_path / "dev")
    made.plug(0, "ok 96x64")
    return made


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "kiosk.yaml"
    write(path)
    return path
