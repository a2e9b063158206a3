"""Engines that stand in for one another."""
