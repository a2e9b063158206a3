"""Which files are, what is said when they are missing or broken. They themselves are not the project's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engines.base import Image
from scripts.evaluation.peers import Peer, PeerError, PeerFile, find
from tests.fakes import peer_venv


@pytest.fixture
def python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return peer_venv.install(tmp_path, monkeypatch)


def noise(height: int, width: int) -> Image:
    return np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)


def test_which_files_are_peers(tmp_path: Path) -> None:
    for name in ("FSRCNN_x2.pb", "ESPCN_x4.pb", "FSRCNN-small_x2.pb", "notes.txt"):
        (tmp_path / name).touch()
    assert [(file.name, file.scale) for file in find(tmp_path)] == [("ESPCN", 4), ("FSRCNN", 2)]


def test_a_folder_without_peers_is_told(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(PeerError) as told:
            find(folder)
        assert str(folder) in told.value.problem and "FSRCNN_x2.pb" in told.value.facts and told.value.fix


@pytest.mark.integration
def test_pictures_go_to_the_process_and_back(python: Path) -> None:
    with Peer(PeerFile("FSRCNN", 3, Path("any.pb")), threads=1) as peer:
        for height, width in ((5, 7), (40, 31), (5, 7)):
            image = noise(height, width)
            assert (peer.upscale(image) == image.repeat(3, 0).repeat(3, 1)).all()
        assert 0 < peer.frames(4) < 1000 and peer.seconds(0.01) > 0
        process = peer._process
    assert process.poll() is not None, "the process outlives its Peer"


@pytest.mark.integration
def test_a_file_that_does_not_run_is_told(python: Path) -> None:
    with Peer(PeerFile("ESPCN", 2, Path("broken.pb")), threads=1) as peer, pytest.raises(PeerError) as told:
        peer.upscale(noise(4, 4))
    assert "broken.pb" in told.value.problem and told.value.facts == "cv2.error: no such layer"


@pytest.mark.integration
def test_a_process_that_dies_on_the_way_is_told(python: Path) -> None:
    with Peer(PeerFile("ESPCN", 2, Path("any.pb")), threads=1) as peer:
        peer.upscale(noise(4, 4))
        with pytest.raises(PeerError) as told:
            peer.upscale(np.full((4, 4, 3), 255, np.uint8))
        assert told.value.facts == "out of memory"


@pytest.mark.integration
def test_a_process_that_hangs_is_given_up(python: Path) -> None:
    python.write_text("#!/bin/sh\nexec sleep 60\n")
    file = PeerFile("ESPCN", 2, Path("any.pb"))
    with Peer(file, threads=1, timeout_s=0.5) as peer, pytest.raises(PeerError) as told:
        peer.frames(1)
    assert "no answer" in told.value.facts
