#!/usr/bin/env python3
"""Serve the network in eager PyTorch over HTTP: one process, one request at a time. Triton is compared with it.

POST /WIDTHxHEIGHT with the bytes of a frame (uint8 BGR); the answer is the bytes of the picture.
"""

from __future__ import annotations

import argparse
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
import scripts  # noqa: F401 # first: says how to get what is missing

# isort: split
import numpy as np
import torch

from engines.catalog import shipped as catalog
from scripts.common.arguments import size
from scripts.common.network import Contract
from scripts.conversion.exporter import network_from_onnx


class NaiveServer(HTTPServer):
    """An HTTP server whose queue is long enough that no camera is turned away."""

    request_queue_size = 256  # so that no camera is turned away


def main() -> None:
    """Serve until killed; print "ready" to standard output once connections are accepted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--model", default="fast")
    options = parser.parse_args()
    network = Contract(network_from_onnx(catalog.find(options.model))).eval()

    class NaiveHandler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            width, height = size(self.path.strip("/"))
            body = bytearray(self.rfile.read(int(self.headers["Content-Length"])))
            frame = np.frombuffer(body, np.uint8).reshape(1, height, width, 3)
            with torch.inference_mode():
                answer = network(torch.from_numpy(frame)).numpy().tobytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *_: object) -> None:
            pass

    with NaiveServer(("127.0.0.1", options.port), NaiveHandler) as server:
        print("ready", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
