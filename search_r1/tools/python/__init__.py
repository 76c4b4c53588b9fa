"""Python functions as tools: a file of the user's, run in worker processes."""
