"""An online engine that searches like an index. Nothing that reads an index folder enters."""
