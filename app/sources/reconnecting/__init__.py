"""A source that survives unplugging and servers that go away."""
