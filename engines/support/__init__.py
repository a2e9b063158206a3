"""Small tools without knowledge of engines."""
