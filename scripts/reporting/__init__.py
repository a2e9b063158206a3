"""Documents: the page of quality and its pictures, the cards of models."""
