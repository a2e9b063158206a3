"""Many cameras at one server."""
