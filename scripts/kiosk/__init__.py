"""What the soak breaks and watches."""
