"""Ctrl-C for commands, however they were started."""

import signal


def restore_interrupts() -> None:
    """Let SIGINT interrupt this process also if it was started with SIGINT ignored.

    A shell without job control starts what stands before ``&`` that way, and Python then leaves it
    so: a script's ``kill -INT`` or the launcher's would do nothing. SIGHUP stays as it is, because
    ``nohup`` ignores it for whoever wants the command to outlive a terminal.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
