"""What an address names, and what of it may be told."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.uri import local, shown


@pytest.mark.parametrize(
    ("source", "path"),
    [
        ("film.mkv", "film.mkv"),
        ("file:///a/film%20one.mkv", "/a/film one.mkv"),
        ("file://localhost/a/film.mkv", "/a/film.mkv"),
        ("FILE:///a/100%.mkv", "/a/100%.mkv"),
        ("a%20b.mkv", "a%20b.mkv"),
        ("~nosuchuser/film.mkv", "~nosuchuser/film.mkv"),
        ("~t.mp4", "~t.mp4"),
        ("clip:10.mkv", "clip:10.mkv"),
        *((other, None) for other in ("demo", "csi:0", "gst:videotestsrc", "rtsp://h/x", "UDP://h:1", "rstp://h/x")),
    ],
)
def test_what_names_a_file_and_what_does_not(source: str, path: str | None) -> None:
    assert local(source) == (None if path is None else Path(path))


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("rtsp://10.0.0.1:554/stream", "rtsp://10.0.0.1:554/stream"),
        ("rtsp://admin:SECRET@10.0.0.1:554/stream", "rtsp://10.0.0.1:554/stream"),
        ("rtsp://admin:p@SECRET@127.0.0.1:1/stream", "rtsp://127.0.0.1:1/stream"),
        ("rtsp://admin:SECRET/SECRET@h/s", "rtsp://h/s"),
        ("rtsp://admin:SEC?RET@h/s", "rtsp://..."),
        ("rtsp://admin:SEC/R?ET@h/s", "rtsp://..."),
        ("rtsp://admin:SECRET SECRET@h/s", "rtsp://h/s"),
        ("http://h:80/x?user=SECRET&pwd=SECRET&SECRET", "http://h:80/x?user=...&pwd=...&..."),
        ("http://h/x?mail=SECRET@SECRET", "http://h/x?mail=..."),
        ("rstp://admin:SECRET@host/stream", "rstp://host/stream"),
        (
            "rtspsrc location=rtsp://me:SECRET@h/s user-id=me user-pw=SECRET ! fakesink",
            "rtspsrc location=rtsp://h/s user-id=me user-pw=... ! fakesink",
        ),
        (
            'souphttpsrc user-pw="SECRET \\" SECRET" proxy-pw = SECRET ! fakesink',
            "souphttpsrc user-pw=... proxy-pw = ... ! fakesink",
        ),
        ("http://h/@2x/film.ts", "http://h/@2x/film.ts"),
        ("http://h/film@2x.ts?token=SECRET", "http://h/film@2x.ts?token=..."),
        ("file:///a@b/film.mkv", "file:///a@b/film.mkv"),
        ("film.mkv", "film.mkv"),
        ("demo", "demo"),
    ],
)
def test_passwords_stay_out_of_what_is_told(address: str, told: str) -> None:
    assert shown(address) == told
