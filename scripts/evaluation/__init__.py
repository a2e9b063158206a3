"""Measuring how good models are."""
