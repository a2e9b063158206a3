"""H.264 recordings: one file, on demand, or segments."""
