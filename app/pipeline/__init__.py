"""The frame's way: ring, threads, pacing and figures."""
