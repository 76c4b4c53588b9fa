"""What lies on disk: corpora, passages, vectors, manifests. No index, encoder or server enters."""
