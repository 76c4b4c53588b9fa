"""One kind of index a file, all with the same search(). Nothing of a command enters."""
