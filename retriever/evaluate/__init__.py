"""What an index finds, how fast, and in how much memory: ``python -m retriever.evaluate``."""
