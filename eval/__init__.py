"""Evaluation on the loop of training. Import submodules only: the package's name is a builtin's."""
