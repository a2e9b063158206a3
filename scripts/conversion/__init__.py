"""ONNX files: exported, wrapped, halved, probed."""
