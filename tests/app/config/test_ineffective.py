"""Options that do nothing beside the others, by the words of a command line."""

from __future__ import annotations

import logging
import re

import pytest

from app.config import ineffective
from app.config.command_line import parse
from app.config.schema import Config, known_keys

TRITON = "--engine triton://127.0.0.1/fast-x2"
TLS = "--tls --tls-ca a.pem --tls-certificate b.pem --tls-key c.pem"

CASES = {
    "--engine openvino --dla 0 --memory mapped --profile": "dla memory profile",
    "--engine openvino --isolate --fallback tensorrt --dla 0 --memory mapped --profile": "",
    "--engine tensorrt --dla 0 --memory mapped --profile --threads 2": "threads",
    "--dla 0 --memory mapped --profile --threads 2": "",
    "--engine bicubic --threads 2 --isolate --governor --frame-timeout 90": "threads isolate governor frame-timeout",
    "--engine bicubic --isolate --fallback openvino --threads 2 --frame-timeout 90": "",
    f"--engine-start standby --connect-timeout 1 --jpeg-quality 80 --transport raw --token-file t {TLS}": (
        "engine-start connect-timeout jpeg-quality transport token-file tls tls-ca tls-certificate tls-key"
    ),
    "--fallback openvino --frame-timeout 90": "fallback frame-timeout",
    "--fallback none": "fallback",
    "--fallback openvino --frame-timeout 90 --isolate": "",
    "--fallback openvino --frame-timeout 90 --governor": "frame-timeout",
    f"{TRITON} --engine-start standby --frame-timeout 90 --fallback bicubic --jpeg-quality 80 --token-file t {TLS}": "",
    f"{TRITON} --fallback none --engine-start standby --frame-timeout 90": "engine-start frame-timeout",
    f"{TRITON} --fallback openvino --threads 2 --dla 0 --model fast": "dla",
    f"{TRITON} --fallback tensorrt --threads 2 --dla 0 --profile": "threads",
    f"{TRITON} --model fast --isolate --governor --governor-fps 9": "model isolate governor governor-fps",
    f"{TRITON} --transport raw --jpeg-quality 80 --token-header token": "jpeg-quality token-header",
    f"{TRITON} --transport jpeg --jpeg-quality 80 --no-tls --scale 2 --depth 3": "",
    "--source film.mkv --attract-after 0": "attract-after",
    "--source film.mkv --size 64x48 --fps 9 --loop": "size fps",
    "--source http://127.0.0.1/x --size 64x48 --fps 9 --loop": "size fps",
    "--source http://127.0.0.1/x --size 64x48 --fps 9 --loop --reconnect": "loop",
    "--source a*.png --size 64x48 --fps 9 --loop": "size",
    f"--source {300 * 'a'}/x --fps 9": "",
    "--source film.mkv --mirror --rotate 90 --control a=1": "control",
    "--source csi:0 --control a=1 --reconnect": "control",
    "--camera 0 --control a=1": "",
    "--control a=1": "",
    "--source demo --size 64x48 --fps 9 --loop": "loop",
    "--size 64x48 --fps 9 --loop": "loop",
    "--camera 0 --size 64x48 --fps 9 --loop": "loop",
    "--headless --encoder libx264 --quality 9 --folder . --reserve-mb 9": "encoder quality folder reserve-mb",
    "--headless --encoder libx264 --quality 9 --folder . --reserve-mb 9 --segment 9": "",
    "--headless --encoder libx264 --quality 9 --folder . --record a.mkv": "folder",
    "--headless --overlay": "overlay",
    "--headless --no-overlay": "",
    "--encoder libx264 --quality 9 --folder .": "",
    "--quiet --verbose": "quiet",
}


@pytest.mark.parametrize("given", CASES)
def test_what_has_no_effect_is_told(given: str, caplog: pytest.LogCaptureFixture) -> None:
    config, asked = parse(given.split())
    with caplog.at_level(logging.WARNING):
        ineffective.warn(config, asked.given)
    assert sorted(re.findall(r"^--(\S+) has no effect: ", "\n".join(caplog.messages), re.M)) == sorted(
        CASES[given].split()
    ), caplog.text


def test_all_that_options_say_they_need_is_known(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        ineffective.warn(Config(), known_keys())
    assert "--reserve-mb has no effect" in caplog.text and "--record " not in caplog.text
