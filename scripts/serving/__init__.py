"""What a Triton server needs."""
