"""The chat: ask a model a question, and watch it think, search and read on the loop of training."""
