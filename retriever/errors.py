"""Errors that end a command with one clear line instead of a traceback."""


class RetrievalError(Exception):
    """Base of every error here; the message says what to do next."""


class CorpusError(RetrievalError):
    """A corpus file is missing, empty, or has a line that cannot be used."""


class BadIndexError(RetrievalError):
    """An index folder is missing, torn, altered, or of a kind that does not exist."""


class EncoderError(RetrievalError):
    """An encoder folder is missing, or is not the one that the index was built with."""


class EncodingError(EncoderError):
    """An encoder gave NaN or infinite numbers for a text, which nothing can be compared with."""


class BuildError(RetrievalError):
    """A build cannot start, or its output cannot be put in place."""


class DeviceError(RetrievalError):
    """A GPU is wanted that is not there, or that the installed FAISS cannot use."""


class SearchUnavailableError(RetrievalError):
    """What a search relies on is down or busy; asking again later may help.

    Attributes:
        retry_after_s: Seconds it asks to be left alone; 0 when it does not say.
    """

    def __init__(self, message: str, retry_after_s: float = 0.0) -> None:
        """Say what happened, and when to come back."""
        super().__init__(message)
        self.retry_after_s = retry_after_s


class OnlineConfigError(RetrievalError):
    """The description of an online engine is missing, or has a value that cannot be used."""


class OnlineQuotaError(SearchUnavailableError):
    """An online engine answers no more for now: too many requests, or none left (status 429)."""


class OnlineSearchError(RetrievalError):
    """An online engine refused a search, or answered with something that is no result list."""


class OnlineAuthError(OnlineSearchError):
    """An online engine refused the key."""
