"""``python -m retriever.evaluate``: what an index finds, how fast. Nothing imports it to serve."""
