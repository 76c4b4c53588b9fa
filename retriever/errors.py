"""Errors that end a command with one clear line instead of a traceback."""


class RetrievalError(Exception):
    """Base of every error here; the message says what to do next."""


class CorpusError(RetrievalError):
    """A corpus file is missing, empty, or has a line that cannot be used."""


class BadIndexError(RetrievalError):
    """An index folder is missing, torn, altered, or of a kind that does not exist."""


class EncoderError(RetrievalError):
    """An encoder folder is missing, or is not the one that the index was built with."""


class BuildError(RetrievalError):
    """A build cannot start, or its output cannot be put in place."""
