"""Small things that several commands share."""
