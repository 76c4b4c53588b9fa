"""Corpus to index to passage server. Usable alone: imports nothing of the trainer."""
