"""Serve the fake camera's scene as a network camera does, by RTSP.

  python scripts/kiosk/rtsp_server.py PORT WxH

It prints its port, and implements as much of RFC 2326 as a client needs that wants one stream of H.264 interleaved with
the answers. FFmpeg's own muxer makes the RTP packets.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import re
import socketserver
import sys
import time
from fractions import Fraction
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
import scripts  # noqa: F401 # first: says how to get what is missing

# isort: split
import av

from scripts.common.arguments import size
from scripts.kiosk.fake_camera import scene

STREAM_FPS = 30
MAX_PACKET_BYTES = 1400
"""Bytes of an RTP packet at most, as if there were an Ethernet in between."""
RTCP_TYPES = range(200, 205)
"""Types of packet that are no RTP (RFC 5761, 4)."""
SESSION_DESCRIPTION = """v=0
o=- 0 0 IN IP4 127.0.0.1
s=camera
t=0 0
m=video 0 RTP/AVP 96
a=rtpmap:96 H264/90000
a=fmtp:96 packetization-mode=1
a=control:track
""".replace("\n", "\r\n")


class RtspHandler(socketserver.StreamRequestHandler):
    """One client, from its first request until it goes."""

    size = (320, 180)

    def handle(self) -> None:
        """Answer requests until the client goes."""
        with contextlib.suppress(OSError):  # the client has gone
            while head := self._head():
                method, address, _ = head.split(maxsplit=2)
                self._answer(method, address, re.findall(r"^CSeq: *(\d+)", head, re.MULTILINE | re.IGNORECASE)[0])
                if method == "PLAY":
                    self._play()

    def _head(self) -> str:
        """Return the next request, up to its empty line; "" at the end."""
        head = ""
        while line := self.rfile.readline().decode():
            if line.isspace():
                break
            head += line
        return head

    def _answer(self, method: str, address: str, number: str) -> None:
        more, body = "", ""
        match method:
            case "OPTIONS":
                more = "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n"
            case "DESCRIBE":
                body = SESSION_DESCRIPTION
                more = f"Content-Type: application/sdp\r\nContent-Base: {address}/\r\nContent-Length: {len(body)}\r\n"
            case "SETUP":
                more = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"
        self.wfile.write(f"RTSP/1.0 200 OK\r\nCSeq: {number}\r\nSession: 1\r\n{more}\r\n{body}".encode())

    def _play(self) -> None:
        with av.open(self, "w", format="rtp", options={"packetsize": str(MAX_PACKET_BYTES)}) as container:
            stream = container.add_stream(
                "libx264", rate=STREAM_FPS, options={"preset": "ultrafast", "tune": "zerolatency", "g": str(STREAM_FPS)}
            )
            stream.width, stream.height, stream.pix_fmt = *self.size, "yuv420p"
            begun = time.monotonic()
            for count in itertools.count():
                picture = av.VideoFrame.from_ndarray(scene(count, self.size), format="bgr24")
                picture.pts, picture.time_base = count, Fraction(1, STREAM_FPS)
                container.mux(stream.encode(picture))
                time.sleep(max(0.0, begun + count / STREAM_FPS - time.monotonic()))

    def write(self, packet: bytes) -> int:
        """Send one packet of the muxer to the client (RFC 2326, 10.12)."""
        channel = 1 if packet[1] in RTCP_TYPES else 0
        self.wfile.write(b"$" + bytes([channel]) + len(packet).to_bytes(2, "big") + packet)
        return len(packet)


def main(port: int, size: tuple[int, int]) -> None:
    """Print the port and serve until killed."""
    RtspHandler.size = size
    socketserver.ThreadingTCPServer.daemon_threads = True
    socketserver.ThreadingTCPServer.allow_reuse_address = True
    with socketserver.ThreadingTCPServer(("127.0.0.1", port), RtspHandler) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("port", type=int, help="port; 0 for any free one")
    parser.add_argument("size", type=size, metavar="WxH")
    main(**vars(parser.parse_args()))
