"""--control and what --list says of controls, with a webcam's driver replaced at its ioctls."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from app.config.command_line import parse
from app.errors import ConfigError, SourceError
from app.inventory import listing
from app.pipeline.frame import Origin
from app.session import open_input
from app.sources.v4l2_controls import control_name, controls_of, set_controls
from scripts.kiosk.fake_camera import FakeCamera, FakeDevDir

pytest.importorskip("linuxpy.ioctl", reason="linuxpy is for Linux only")

from tests.fakes.v4l2_controls import FakeControl, FakeDriver

pytestmark = pytest.mark.media


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> FakeDriver:
    fake = FakeDriver()
    monkeypatch.setattr("linuxpy.ioctl.fcntl", fake)
    return fake


@pytest.fixture
def camera(dev: FakeDevDir, driver: FakeDriver) -> Path:
    return dev.plug(0, by_id=False)


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("Exposure Time, Absolute", "exposure_time_absolute"),
        ("Exposure (Absolute)", "exposure_absolute"),
        ("White Balance Temperature, Auto", "white_balance_temperature_auto"),
        ("Focus, Automatic Continuous", "focus_automatic_continuous"),
        (" LED1 Mode", "led1_mode"),
    ],
)
def test_names_are_those_of_v4l2_ctl(title: str, name: str) -> None:
    assert control_name(title) == name


def test_the_list_has_range_default_entries_and_value(camera: Path, driver: FakeDriver) -> None:
    driver.values[0x00980900] = -7
    lines = "\n".join(listing()).partition("Models")[0].splitlines()
    assert lines[1].strip() == f"{camera} (Puppet)"
    assert [line.strip() for line in lines[2:]] == [
        "brightness=-7, default 0; -64 to 64",
        "white_balance_automatic=1, default 1; 0 or 1",
        "power_line_frequency=2, default 2; one of 0 (Disabled), 1 (50 Hz), 2 (60 Hz)",
        "white_balance_temperature=4600, default 4600; 2800 to 6500; inactive",
        "auto_exposure=3, default 3; one of 1 (Manual Mode), 3 (Aperture Priority Mode)",
        "exposure_time_absolute=250, default 250; 3 to 2047; inactive",
        "link_frequency=0, default 0; one of 0 (297000000), 1 (594000000)",
        "privacy=0, default 0; 0 or 1; read-only",
    ]


def test_a_device_without_controls_has_none(dev: FakeDevDir) -> None:
    assert controls_of(dev.plug(0)) == []  # a file, of which no driver knows anything
    assert controls_of(dev.folder / "none") == []


def test_what_switches_the_automatic_off_is_set_first(
    camera: Path, driver: FakeDriver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    wanted: dict[str, int | str] = {
        "exposure_time_absolute": 150,
        "brightness": -64,
        "auto_exposure": 1,
        "power_line_frequency": "50 hz",
    }
    set_controls(camera, wanted)
    assert driver.set_names == ["Auto Exposure", "Power Line Frequency", "Exposure Time, Absolute", "Brightness"]
    assert driver.value("Exposure Time, Absolute") == 150 and driver.value("Power Line Frequency") == 1
    (record,) = (record for record in caplog.records if record.name.startswith("app."))
    assert "exposure_time_absolute=150" in record.message and "power_line_frequency=1" in record.message


@pytest.mark.parametrize(
    ("wanted", "problem", "facts", "fix"),
    [
        (
            {"exposure_absolute": 5},
            "no control exposure_absolute",
            "brightness, white_balance",
            "exposure_time_absolute?",
        ),
        ({"zzz": 5}, "no control zzz", "auto_exposure", "--list"),
        ({"exposure_time_absolute": 2048}, "cannot be 2048", "3 to 2047; the default is 250, now it is 250", "--list"),
        ({"brightness": "bright"}, "cannot be bright", "-64 to 64", "--list"),
        ({"auto_exposure": 2}, "cannot be 2", "1 (Manual Mode), 3 (Aperture Priority Mode)", "--list"),
        ({"power_line_frequency": "55 Hz"}, "cannot be 55 Hz", "1 (50 Hz)", "--list"),
        ({"white_balance_automatic": 2}, "cannot be 2", "0 or 1", "--list"),
        ({"privacy": 1}, "cannot be set", "read-only", "Leave it out"),
    ],
)
def test_what_can_be_known_beforehand_is_one_message_and_sets_nothing(
    camera: Path, driver: FakeDriver, wanted: dict[str, int | str], problem: str, facts: str, fix: str
) -> None:
    with pytest.raises(SourceError) as error:
        set_controls(camera, {"brightness": 3} | wanted)
    assert problem in error.value.problem and facts in error.value.facts and fix in error.value.fix
    assert str(camera) in error.value.problem and driver.set_names == []


def test_what_the_camera_sets_by_itself_is_told(camera: Path, driver: FakeDriver) -> None:
    with pytest.raises(SourceError, match="does not take exposure_time_absolute=150") as error:
        set_controls(camera, {"exposure_time_absolute": 150})
    assert "by itself" in error.value.facts and "auto_exposure=1" in error.value.fix


def test_a_value_that_the_driver_changes_is_told(
    camera: Path, driver: FakeDriver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    driver.controls[0x00980900].step = 4
    take = driver._set

    def rounded(argument: object) -> None:
        argument.value &= ~3  # type: ignore[attr-defined]
        take(argument)

    monkeypatch.setattr(driver, "_set", rounded)
    set_controls(camera, {"brightness": 7})
    assert "brightness is 4, not 7 as requested: it takes -64 to 64 in steps of 4" in caplog.text


def test_an_odd_control_hides_no_other(camera: Path, driver: FakeDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    driver.controls[0x00980901] = FakeControl("Contrast", "INTEGER", -(2**40), 2**40)  # limits that no integer has
    driver.controls = dict(sorted(driver.controls.items()))
    driver.reset()
    assert {"contrast", "brightness", "auto_exposure"} <= {control.name for control in controls_of(camera)}


def test_a_camera_is_set_when_it_is_opened_and_closed_when_it_refuses(camera: Path, driver: FakeDriver) -> None:
    arguments = ["--camera", "0", "--control", "white_balance_automatic=0", "--control"]
    open_input(parse([*arguments, "white_balance_temperature=5000"])[0]).close()
    assert driver.value("White Balance Temperature") == 5000
    with pytest.raises(SourceError, match="cannot be 9"):
        open_input(parse([*arguments, "white_balance_temperature=9"])[0])
    assert FakeCamera.last.released == 1
    open_input(parse(["--control", "brightness=5"])[0]).close()  # the first camera that is found
    assert driver.value("Brightness") == 5


@pytest.mark.integration
def test_they_are_set_again_when_the_camera_is_back(
    camera: Path, driver: FakeDriver, dev: FakeDevDir, caplog: pytest.LogCaptureFixture
) -> None:
    """And a camera that lacks one of them is shown all the same."""
    arguments = ["--camera", "0", "--reconnect", "--frozen-after", "0.3", "--control", "brightness=9"]
    source = open_input(parse(arguments)[0])
    losses, began = 0, time.monotonic()
    for frame in source:
        assert time.monotonic() - began < 60
        live = frame.origin is Origin.LIVE
        frame.release()
        if live and losses == 0:
            assert driver.value("Brightness") == 9
            dev.unplug(0)
            driver.reset()
            losses = 1
        elif not live and losses == 1:
            assert driver.value("Brightness") == 0
            dev.plug(0, by_id=False)
            losses = 2
        elif live and losses == 2:
            assert driver.value("Brightness") == 9 and "no control" not in caplog.text
            del driver.controls[0x00980900]
            dev.unplug(0)
            losses = 3
        elif not live and losses == 3:
            dev.plug(0, by_id=False)
            losses = 4
        elif live and losses == 4:
            assert "has no control brightness" in caplog.text
            source.close()


def test_the_command_line_adds_to_the_file(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("input: {controls: {brightness: 3, white_balance_automatic: off, power_line_frequency: 50 Hz}}")
    config, options = parse(["--config", str(file), "--control", "brightness=-4", "--control", "gain = 2"])
    wanted = {"brightness": -4, "white_balance_automatic": 0, "power_line_frequency": "50 Hz", "gain": 2}
    assert config.input.controls == wanted and "input.controls" in options.given
    file.write_text(config.as_yaml())
    assert parse(["--config", str(file)])[0] == config


@pytest.mark.parametrize("wrong", ["brightness", "=3", "brightness=", "brightness= "])
def test_what_is_no_name_and_value_is_refused(wrong: str) -> None:
    with pytest.raises(ConfigError, match="is not NAME=VALUE"):
        parse(["--control", wrong])


@pytest.mark.parametrize("wrong", ["[1]", "brightness", "{brightness: 1.5}", "{brightness: }", "{brightness: ''}"])
def test_a_file_says_what_a_control_is(tmp_path: Path, wrong: str) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(f"input: {{controls: {wrong}}}")
    with pytest.raises(ConfigError, match=r"input\.controls cannot be") as error:
        parse(["--config", str(file)])
    assert "mapping" in error.value.facts or "brightness needs a value" in error.value.facts
