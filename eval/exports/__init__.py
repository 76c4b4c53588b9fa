"""Results in the files of others' tools: one module a format, each only reads a result."""
