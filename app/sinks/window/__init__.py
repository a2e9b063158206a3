"""The window, in this process or one of its own."""
