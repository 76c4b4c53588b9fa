"""Tools a model can call while it reasons."""
