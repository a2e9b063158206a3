"""Where upscaled pictures go: the window, recordings, snapshots."""
