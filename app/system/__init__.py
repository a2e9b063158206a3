"""The machine: sensors, board, service manager."""
