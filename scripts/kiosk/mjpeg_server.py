"""Serve the fake camera's scene as a network camera does, in MJPEG.

  python scripts/kiosk/mjpeg_server.py PORT WxH

It prints its port.
"""

from __future__ import annotations

import argparse
import http.server
import itertools
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
import scripts  # noqa: F401 # first: says how to get what is missing

# isort: split
import cv2

from scripts.common.arguments import size
from scripts.kiosk.fake_camera import scene


class MjpegHandler(http.server.BaseHTTPRequestHandler):
    """Answers every GET with a stream without an end."""

    size = (320, 180)

    def do_GET(self) -> None:
        """Send pictures until the client goes."""
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        try:
            for count in itertools.count():
                data = cv2.imencode(".jpg", scene(count, self.size))[1].tobytes()
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                self.wfile.write(head.encode() + data + b"\r\n")
                time.sleep(1 / 30)
        except OSError:
            return  # the client has gone

    def log_message(self, *_: object) -> None:
        """Print nothing."""
        pass


def main(port: int, size: tuple[int, int]) -> None:
    """Print the port and serve until killed."""
    MjpegHandler.size = size
    http.server.ThreadingHTTPServer.daemon_threads = True
    with http.server.ThreadingHTTPServer(("127.0.0.1", port), MjpegHandler) as server:
        print(server.server_port, flush=True)
        server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("port", type=int, help="port; 0 for any free one")
    parser.add_argument("size", type=size, metavar="WxH")
    main(**vars(parser.parse_args()))
