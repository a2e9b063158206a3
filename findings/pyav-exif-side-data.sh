#!/usr/bin/env bash
# Finding: PyAV raises ValueError on reading the side data of a frame whose type its own table does not hold, although
# the FFmpeg inside the same wheel produces it. A JPEG with EXIF is enough.
#
# Expectation: frame.side_data lists what FFmpeg attached to the frame, or leaves out what PyAV has no name for.
# Seen with: PyAV 18.1.0 and 17.1.0 (libavutil 60.26), Linux on x86-64, Python 3.11.
# Behaviour: "31 is not a valid Type". PyAV's table of types ends at 27; 31 is AV_FRAME_DATA_EXIF. The same picture
#   without EXIF works. Fixed upstream after these releases (PyAV-Org/PyAV#2392).
# What it means here: the orientation of a film is looked up by its type, and other side data is never listed.
#
# Exit status: 0, behaves as described; 1, it no longer does (the output says how); 2, could not be tried.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv" || exit 2

cat >"$folder/exif.py" <<'PYTHON'
import io
from fractions import Fraction

import av
from av.sidedata.sidedata import Type


def jpeg() -> bytes:
    """A grey JPEG of 16x16, by FFmpeg's own encoder."""
    encoder = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 16, 16, "yuvj420p", Fraction(1)
    packets = [*encoder.encode(av.VideoFrame(16, 16, "yuvj420p")), *encoder.encode()]
    return b"".join(bytes(packet) for packet in packets)


def with_exif(data: bytes) -> bytes:
    """The same with an APP1 segment after its start: big-endian TIFF, one entry, orientation 6."""
    entry = bytes.fromhex("0112 0003 00000001 0006 0000")
    tiff = b"MM\0*" + (8).to_bytes(4, "big") + (1).to_bytes(2, "big") + entry + bytes(4)
    payload = b"Exif\0\0" + tiff
    return data[:2] + b"\xff\xe1" + (len(payload) + 2).to_bytes(2, "big") + payload + data[2:]


def side_data(data: bytes) -> str:
    with av.open(io.BytesIO(data), format="jpeg_pipe") as container:
        frame = next(container.decode(video=0))
        try:
            return str([item.type.name for item in frame.side_data])
        except ValueError as error:
            return f"ValueError: {error}"


plain = jpeg()
print(f"largest type known: {max(item.value for item in Type)}")
print(f"without EXIF: {side_data(plain)}")
print(f"with EXIF: {side_data(with_exif(plain))}")
PYTHON

expected=$'largest type known: 27\nwithout EXIF: []\nwith EXIF: ValueError: 31 is not a valid Type'
as_described=yes
for version in 17.1.0 18.1.0; do
    "$folder/venv/bin/pip" install --quiet --disable-pip-version-check av==$version 2>/dev/null ||
        { echo "Could not install av $version." >&2; exit 2; }
    results=$("$folder/venv/bin/python" "$folder/exif.py")
    echo "PyAV $version"
    while IFS= read -r line; do
        echo "  $line"
    done <<<"$results"
    [ "$results" = "$expected" ] || as_described=
done
if [ "$as_described" ]; then
    echo "As described: side data of a type that PyAV does not know raises ValueError."
else
    echo "Not as described: expected in both" "$expected" >&2
    exit 1
fi
