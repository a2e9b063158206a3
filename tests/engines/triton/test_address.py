"""Addresses of Triton servers, and which hosts are this one."""

from __future__ import annotations

import pytest

import engines
from engines.catalog.resolved import resolve_served
from engines.errors import EngineError
from engines.request import EngineRequest, TritonOptions
from engines.triton.address import is_this_machine, parse
from tests.support.rising_frames import SIZE


def test_addresses() -> None:
    one = parse("triton://host:8101/fast-x2")
    assert (one.servers, one.model, one.version) == (("host:8101",), "fast-x2", "")
    assert resolve_served(one.model, None).scale == 2
    two = parse("triton://a,b:9000/quality-x4-int8/3")
    assert two.servers == ("a:8001", "b:9000") and two.version == "3"
    assert resolve_served(two.model, None).scale == 4
    assert str(two) == "triton://a:8001,b:9000/quality-x4-int8/3"
    assert (
        parse("triton://[::1]:8001/m").servers == ("[::1]:8001",)
        and resolve_served(parse("triton://h/m").model, None).scale is None
    )


@pytest.mark.parametrize(
    "text",
    ["triton", "triton://", "triton://host", "triton://host/", "triton:///m", "triton://h:x/m", "triton://a,,b/m"],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(EngineError, match="not the address of a Triton server") as told:
        engines.load(EngineRequest(text, "fast", SIZE))
    assert "triton://127.0.0.1:8001/fast-x2" in told.value.fix


def test_which_hosts_are_this_one() -> None:
    assert is_this_machine("127.0.0.1:8001") and is_this_machine("localhost:8001") and is_this_machine("[::1]:8001")
    assert not is_this_machine("192.0.2.1:8001")  # RFC 5737: nobody's
    assert not is_this_machine("no-such-host.invalid:8001")


@pytest.mark.parametrize("host", ["a..b", "x" * 70])
def test_a_name_that_no_host_can_have_is_told_as_one_that_none_has(host: str) -> None:
    with pytest.raises(EngineError, match="There is no Triton server at") as told:
        engines.load(EngineRequest(f"triton://{host}:8001/m", "fast", SIZE, triton=TritonOptions(timeout=1.0)))
    assert host in told.value.problem and told.value.facts and told.value.fix


def test_auto_is_never_a_server() -> None:
    assert "triton" not in engines.candidates("auto")
