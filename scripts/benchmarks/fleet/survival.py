"""Kill the server of a fleet again and again, and see what its cameras see of it."""

from __future__ import annotations

import os
import time
from typing import Any

from scripts.benchmarks.fleet.fleet import SERVED_MODEL, Fleet, gather, served, started
from scripts.serving.server import known_regions, shared_names

SERVER_KILLS = 5
SERVER_DOWNTIME_S = 3.0
"""Seconds that the server stays away each time."""


def survive(
    cameras: int,
    minutes: float,
    *,
    size: tuple[int, int] = (320, 180),
    fps: float = 10.0,
    server_kills: int = SERVER_KILLS,
    downtime_s: float = SERVER_DOWNTIME_S,
) -> dict[str, Any]:
    """Kill the server, and restart it after `downtime_s`, so many times while cameras run and check every picture.

    Returns what the cameras saw of it. Raises UserError.
    """
    seconds = 60 * minutes
    with served(size) as server:
        fleet = Fleet(
            cameras, f"triton://{server.address}/{SERVED_MODEL}", size, fps, seconds, fallback="bicubic", check=True
        )
        kills: list[tuple[float, float]] = []
        with started(fleet) as processes:
            for process in processes:
                assert process.stdin is not None
                process.stdin.write("go\n")
                process.stdin.flush()
            begun = time.monotonic()
            for number in range(server_kills):
                time.sleep(max(0.0, begun + (number + 0.6) * seconds / (server_kills + 1) - time.monotonic()))
                killed = time.monotonic()
                server.kill()
                time.sleep(downtime_s)
                server.start()
                kills.append((killed, time.monotonic()))
            result = gather(processes, fleet)
        left = sorted(shared_names() | known_regions(server))
    gaps = [gap for camera in result.cameras for moment, gap in camera["gaps"] if near(moment, kills)]
    return {
        "cameras": cameras,
        "seconds": seconds,
        "kills": len(kills),
        "shown": int(result.total("shown")),
        "dropped": int(result.total("dropped")),
        "fallback": int(result.total("fallback")),
        "wrong": int(result.total("wrong")),
        "unordered": int(result.total("unordered")),
        "recovery_s": [round(max(recovery(camera, ready) for camera in result.cameras), 3) for _, ready in kills],
        "longest_gap_ms": round(1000 * max(gaps, default=0.0)),
        "regions_left": left,
        "fairness": round(result.fairness, 4),
        "load": os.getloadavg(),
    }


def near(moment: float, kills: list[tuple[float, float]]) -> bool:
    """Tell whether a moment lies between a kill and five seconds after the server's return."""
    return any(killed <= moment <= ready + 5 for killed, ready in kills)


def recovery(camera: dict[str, Any], ready: float) -> float:
    """Return the seconds from the server being ready to the first picture that it made for this camera.

    They are infinite if there was none.
    """
    makers = camera["makers"]
    for (moment, name), following in zip(makers, [*makers[1:], (float("inf"), "")], strict=True):
        if name == "triton" and following[0] > ready:
            return float(max(0.0, moment - ready))
    return float("inf")
