"""HTTP in front of any retriever. No index, no encoder and no command enters."""
