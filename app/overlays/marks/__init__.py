"""Small words and signs on the picture."""
