"""What the launcher reports in one line instead of a traceback."""


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
