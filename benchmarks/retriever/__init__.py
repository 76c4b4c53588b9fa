"""Measure the server against its machine and Search-R1's: ``python -m benchmarks.retriever``."""
