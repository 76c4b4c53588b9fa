"""What can go wrong, each under one name.

Three kinds, told apart by who can mend them: the user (:class:`LaunchError`, reported in one line
instead of a traceback), the model (:class:`ToolError`, told to it as an observation), and nobody
while a run goes on (:class:`ToolFailedError`: it ends the trajectory and masks it from learning).
"""


class LaunchError(Exception):
    """Something the user can act on; the message says what to do next."""

    exit_code = 1


class UsageError(LaunchError):
    """The command itself is wrong: an unknown preset, override or option."""

    exit_code = 2


class StoppedError(LaunchError):
    """Somebody asked the run to stop (Ctrl-C or SIGTERM)."""

    def __init__(self, signal_number: int) -> None:
        super().__init__("stopped on request")
        self.exit_code = 128 + signal_number


def require_fit(is_met: bool, problem: str) -> None:
    """Raise LaunchError with a problem between sections of a config, unless all is well."""
    if not is_met:
        raise LaunchError(f"the config does not fit together: {problem}")


class ToolError(Exception):
    """The model's mistake: the message is told to the model, and the trajectory goes on."""


class ToolFailedError(Exception):
    """Infrastructure failed: never told to the model; the trajectory ends, masked from learning."""


class RetrieverError(ToolFailedError):
    """The retriever gave no usable answer."""


class RetrieverUnavailable(RetrieverError):  # noqa: N818
    """Every attempt met a connection error, a timeout, or a busy server."""


class RetrieverBadRequest(RetrieverError):  # noqa: N818
    """The server refused the request as wrong (status 4xx); asking again would not help."""


class RetrieverBadReply(RetrieverError):  # noqa: N818
    """The server failed, or answered with something that is not a list of passages per query."""
