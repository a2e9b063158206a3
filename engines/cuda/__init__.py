"""CUDA memory, streams and slots."""
