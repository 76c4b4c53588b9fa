"""Ctrl-C once stops a run through its clean-up; twice ends what the clean-up waits for."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from search_r1.errors import StoppedError
from search_r1.processes.marked import marked_environment
from search_r1.processes.signals import signals_raise

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(); time.sleep(99)"


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Put back whatever a test leaves of them."""
    before = {number: signal.getsignal(number) for number in NUMBERS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def deaf() -> Iterator["subprocess.Popen[bytes]"]:
    """Start a process of the run "mine" that does not heed SIGTERM."""
    env = {**os.environ, **marked_environment("mine")}
    with subprocess.Popen([sys.executable, "-c", DEAF], env=env, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


@pytest.mark.parametrize("number", NUMBERS)
def test_the_first_signal_is_an_exception_that_knows_the_exit_code(number: signal.Signals) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    with pytest.raises(StoppedError) as stopped, signals_raise("mine"):
        signal.raise_signal(number)
    assert stopped.value.exit_code == 128 + number


def test_the_second_signal_kills_the_runs_processes_and_does_not_break_the_clean_up(
    deaf: "subprocess.Popen[bytes]",
) -> None:
    with signals_raise("mine"):
        with pytest.raises(StoppedError):
            signal.raise_signal(signal.SIGINT)
        assert deaf.poll() is None, "the first leaves it the time to end by itself"
        signal.raise_signal(signal.SIGINT)  # raises nothing: the clean-up goes on
        assert deaf.wait(60) == -signal.SIGKILL


def test_a_second_signal_leaves_other_runs_alone(deaf: "subprocess.Popen[bytes]") -> None:
    with signals_raise("another"):
        with pytest.raises(StoppedError):
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
    assert deaf.poll() is None


def test_a_run_started_with_nohup_outlives_its_terminal() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with signals_raise("mine"):
        signal.raise_signal(signal.SIGHUP)


def test_afterwards_signals_do_what_they_did_before() -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with signals_raise("mine"):
        pass
    assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)
