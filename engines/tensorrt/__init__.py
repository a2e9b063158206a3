"""TensorRT: NVIDIA GPUs."""
