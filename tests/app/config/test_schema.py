"""Defaults, YAML, command line, and what is said when they are wrong."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from app.config.command_line import parse, parser
from app.config.schema import SECTIONS, Config, OutputConfig, RecordingConfig, known_keys
from app.config.validation import from_mapping
from app.config.yaml_file import read_yaml
from app.errors import ConfigError
from app.preflight import check_recording

CONFIGS = Path(__file__).parents[3] / "configs"


def test_the_shipped_defaults_are_the_codes() -> None:
    data = yaml.safe_load((CONFIGS / "default.yaml").read_text())
    assert data == Config().model_dump(mode="json")


@pytest.mark.parametrize("name", ["default", "kiosk", "record"])
def test_shipped_configurations_are_valid(name: str) -> None:
    path = CONFIGS / f"{name}.yaml"
    from_mapping(read_yaml(path), str(path))


def test_every_key_has_a_flag_and_help() -> None:
    text = parser().format_help()
    actions = {action.dest: action for action in parser()._actions if action.help != argparse.SUPPRESS}
    for key in known_keys():
        assert actions[key].help, key
        assert actions[key].option_strings[0] in text


@pytest.mark.parametrize(
    "flag",
    [
        "camera",
        "source",
        "size",
        "fps",
        "loop",
        "pace",
        "engine",
        "model",
        "scale",
        "list",
        "fullscreen",
        "headless",
        "record",
        "view",
        "config",
        "print-config",
        "frames",
        "duration",
        "stats",
        "verbose",
        "quiet",
    ],
)
def test_names_that_other_programs_rely_on(flag: str) -> None:
    assert f"--{flag}" in parser().format_help()


@pytest.mark.parametrize(
    ("former", "current"),
    [
        (["--lasting"], ["--reconnect"]),
        (["--no-lasting"], ["--no-reconnect"]),
        (["--zoom"], ["--magnifier"]),
        (["--patience", "100"], ["--frame-timeout", "100"]),
        (["--view", "compare"], ["--view", "split"]),
    ],
)
def test_former_flags_and_values_mean_what_they_are_called_now(former: list[str], current: list[str]) -> None:
    (config, options), (expected, expected_options) = parse(former), parse(current)
    assert config == expected and options == expected_options
    assert former[0] == current[0] or former[0] not in parser().format_help()
    assert "compare" not in parser().format_usage()


def test_a_former_value_in_a_file_is_read_as_the_current_one() -> None:
    assert from_mapping({"output": {"view": "compare"}}, "test").output.view == "split"


sizes = st.tuples(st.integers(1, 9999), st.integers(1, 9999))
choices: dict[str, st.SearchStrategy[Any]] = {
    "input.camera": st.one_of(st.integers(0, 64), st.just("/dev/v4l/by-id/usb-camera")),
    "input.size": sizes,
    "input.fps": st.floats(0.5, 240),
    "input.loop": st.booleans(),
    "input.pace": st.sampled_from(["auto", "live", "source", "fast"]),
    "engine.name": st.sampled_from(["auto", "bicubic", "openvino", "triton://host:8001/model"]),
    "engine.depth": st.integers(1, 8),
    "engine.scale": st.integers(1, 8),
    "output.view": st.sampled_from(["upscaled", "split"]),
    "recording.file": st.just("out/a.mp4"),
    "recording.quality": st.integers(0, 51),
    "run.frames": st.integers(1, 10**9),
    "run.duration": st.floats(0.1, 1e6),
}


@given(st.fixed_dictionaries({}, optional=choices))
def test_what_is_printed_reads_back_equal(options: dict[str, Any]) -> None:
    data: dict[str, Any] = {}
    for key, value in options.items():
        section, name = key.split(".")
        data.setdefault(section, {})[name] = value
    config = from_mapping(data, "test")
    assert from_mapping(yaml.safe_load(config.as_yaml()), "test") == config


def test_the_command_line_wins(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("input: {source: demo, fps: 15, loop: true}\nengine: bicubic\noutput: {headless: true}\n")
    config, _ = parse(["--config", str(file), "--fps", "25", "--no-headless", "--depth", "3", "--camera", "1"])
    assert config.input.fps == 25
    assert config.input.loop
    assert (config.input.camera, config.input.source) == (1, None)
    assert (config.engine.name, config.engine.depth) == ("bicubic", 3)
    assert not config.output.headless


def test_values_are_typed() -> None:
    config, _ = parse(
        ["--camera", "0", "--size", "640x360", "--fps", "30", "--frames", "5", "--duration", "1.5", "--record", "a.mkv"]
    )
    assert config.input.camera == 0
    assert config.input.size == (640, 360)
    assert (config.run.frames, config.run.duration, config.recording.file) == (5, 1.5, Path("a.mkv"))
    config, _ = parse(["--fallback", "openvino, bicubic", "--frame-timeout", "100", "--token-file", "token", "--tls"])
    assert config.engine.fallback == ("openvino", "bicubic") and config.engine.frame_timeout == 100
    assert config.triton.token_file == Path("token") and config.triton.tls
    assert parse(["--fallback", "none"])[0].engine.fallback == ()
    assert parse(["--camera", "/dev/v4l/by-id/x"])[0].input.camera == "/dev/v4l/by-id/x"


def test_it_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Config().run.frames = 3


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("input: {sorce: demo}", ["input.sorce", "Did you mean input.source?"]),
        ("inptu: {}", ["inptu", "Did you mean input?"]),
        ("kiosk: {lasting: true}", ["kiosk.lasting is now called kiosk.reconnect", "Rename it."]),
        ("kiosk: {zoom: true}", ["kiosk.zoom is now called kiosk.magnifier"]),
        ("engine: {patience: 220}", ["engine.patience is now called engine.frame_timeout"]),
        ("patience: 220", ["there is no key patience", "Did you mean engine.frame_timeout?"]),
        ("size: 640x360", ["there is no key size", "Did you mean input.size?"]),
        ("input: {fps: fast}", ["input.fps", "'fast'", "number"]),
        ("input: {size: 640}", ["input.size", "640"]),
        ("input: {size: big}", ["input.size", "WIDTHxHEIGHT"]),
        ("input: {fps: {a: 1}}", ["input.fps"]),
        ("input: 3", ["input cannot be 3", "source"]),
        ("output: {headless: perhaps}", ["output.headless", "perhaps"]),
        ("output: {view: both}", ["output.view", "split"]),
        ("engine: {name: openvno}", ["engine.name", "did you mean openvino?"]),
        ("engine: {fallback: [openvino, bicubc]}", ["engine.fallback", "'bicubc'", "openvino"]),
        ("triton: {tls_key: a.pem}", ["mutual TLS needs both"]),
        ("triton: {transport: png}", ["triton.transport", "jpeg"]),
        ("engine: {depth: 0}", ["engine.depth", "greater than or equal to 1"]),
        ("engine: {scale: 9}", ["engine.scale", "less than or equal to 8", "--scale"]),
        ("engine: {model: fast-x4-int8, scale: 2}", ["fast-x4-int8 enlarges 4 times and scale is 2"]),
        ("engine: {model: my/own-x3.onnx, scale: 2}", ["own-x3.onnx enlarges 3 times"]),
        ("input: {camera: 0, source: demo}", ["a camera or a source, not both"]),
        ("- a", ["not a configuration"]),
        ("a: [", ["not YAML", "line 1"]),
        ("output:\n  on: true", ["line 2", "output.on", "YAML reads on, off, yes and no", 'Put "quotes"', "rename"]),
        ("no: 1", ["line 1: the key no is not text", "true and false"]),
        ("input: {1: 2}", ["the key input.1 is not text", "int", "rename"]),
        ("1: 2", ["the key 1 is not text", 'Put "quotes"']),
        ("engine: {fallback: [{~: 1}]}", ["the key engine.fallback.~ is not text", "null"]),
        ("input: {{ camera }}", ["the key input.{ camera } is not text"]),
        ("input: {loop: true}\nengine: bicubic\ninput: {fps: 5}", ["line 3: the key input is given twice", "line 1"]),
        ("input:\n  fps: 5\n  loop: true\n  'fps': 6", ["line 4: the key input.fps is given twice", "line 2 has it"]),
        ("recording: {segment: yes}", ["recording.segment cannot be True", "YAML reads on, off, yes and no"]),
        ("run: {duration: on}", ["run.duration", "not a switch"]),
        ("input: {camera: yes}", ["input.camera", "not a switch"]),
        ("input: {source: no}", ["input.source", "not a switch"]),
        ("engine: {dla: off}", ["engine.dla cannot be False", "not a switch"]),
        ("telemetry: {warn_temperature: on}", ["telemetry.warn_temperature", "not a switch"]),
        ("telemetry: {warn_temperature: .nan}", ["telemetry.warn_temperature", "finite"]),
        ("recording: {segment: .inf}", ["recording.segment", "finite"]),
        ("input: {source: ''}", ["input.source cannot be ''", "it is empty"]),
        ("input: {camera: ' '}", ["input.camera", "it is empty"]),
        ("run: {stats: ''}", ["run.stats", "it is empty"]),
        ('input: {source: "a\\0b"}', ["input.source", "NUL"]),
        ("input: {camera: 'rtsp://admin:secret@host/x'}", ["cannot be 'rtsp://host/x'", "given as source"]),
        ("engine: bicubic\ninput: {source: 2024-02-30}", ["line 2", "day is out of range", 'Put "quotes"']),
        ("input: {fps: 0x_}", ["line 1", "base 16", 'Put "quotes"']),
        ("[" * 5000, ["not a configuration", "too deep"]),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_a_mistake_in_the_file_is_named(tmp_path: Path, text: str, told: list[str]) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        parse(["--config", str(file)])
    for part in [str(file), *told]:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--sise", "640x360"], ["--sise", "Did you mean --size?"]),
        (["--zooom"], ["--zooom", "Did you mean --magnifier?"]),
        (["--size", "640"], ["WIDTHxHEIGHT", "--size"]),
        (["--fps", "-1"], ["--fps", "greater than 0"]),
        (["--view", "both"], ["--view", "split"]),
        (["--camera", "0", "--source", "demo"], ["a camera or a source, not both"]),
        (["--config", "missing.yaml"], ["missing.yaml", "No such file"]),
    ],
)
def test_a_mistake_on_the_command_line_is_named(arguments: list[str], told: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(arguments)
    for part in told:
        assert part in str(caught.value)


def test_a_threshold_is_switched_off_by_its_name(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("telemetry: {warn_temperature: off, warn_power: 5}\n")
    assert parse(["--config", str(file)])[0].telemetry.warn_temperature is None
    config, _ = parse(["--config", str(file), "--warn-power", "off"])
    assert config.telemetry.warn_power is None
    assert from_mapping(yaml.safe_load(config.as_yaml()), "test") == config


def test_the_users_own_folder_may_be_written_as_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    keys = {
        "engine": ["model"],
        "triton": ["tls_ca", "tls_certificate", "tls_key", "token_file"],
        "output": ["snapshot"],
        "recording": ["file", "folder"],
        "kiosk": ["attract", "texts", "font"],
        "run": ["stats"],
        "input": ["camera"],
    }
    file = tmp_path / "c.yaml"
    file.write_text(yaml.safe_dump({section: {key: f"~/{key}" for key in names} for section, names in keys.items()}))
    config, _ = parse(["--config", str(file)])
    for section, names in keys.items():
        for key in names:
            assert str(getattr(getattr(config, section), key)) == str(tmp_path / key)


def test_an_empty_section_leaves_the_defaults() -> None:
    assert from_mapping(dict.fromkeys(SECTIONS), "test") == Config()


def test_a_key_may_replace_one_that_is_merged(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(
        "recording: &all {overlay: true}\noutput: &some {<<: *all, overlay: false, headless: true}\n"
        "kiosk: {<<: *some, overlay: 3}\ninput: {<<: [*some, *all], fps: &rate 5}\ngovernor: {fps: *rate}\n"
    )
    data = read_yaml(file)
    assert data["output"] == {"overlay": False, "headless": True}
    assert data["kiosk"] == {"overlay": 3, "headless": True}
    assert data["input"] == {"overlay": False, "headless": True, "fps": 5}
    assert data["governor"] == {"fps": 5}


def test_a_window_needs_no_encoder_that_starts_for_its_segments() -> None:
    """Its driver may come later, and the picture goes on; a name that can never be right is refused all the same."""

    def made(encoder: str, *, headless: bool) -> Config:
        return Config(output=OutputConfig(headless=headless), recording=RecordingConfig(segment=9, encoder=encoder))

    check_recording(made("libx264rgb", headless=False))  # for H.264, and takes no yuv420p
    for config in (made("libx264rgb", headless=True), made("ffv1", headless=False)):
        with pytest.raises(ConfigError, match=config.recording.encoder):
            check_recording(config)
