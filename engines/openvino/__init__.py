"""Any processor."""
