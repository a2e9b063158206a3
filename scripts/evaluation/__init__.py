"""Measuring models, and telling of it."""
