"""What is drawn into the picture."""
