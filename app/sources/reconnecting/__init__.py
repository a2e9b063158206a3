"""A source that survives unplugging."""
