"""One kind of index a file, all with the same search(). No command and no HTTP enters."""
