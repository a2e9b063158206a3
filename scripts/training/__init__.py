"""Training: pictures, recipes, networks, runs."""
