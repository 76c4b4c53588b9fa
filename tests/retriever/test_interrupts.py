"""Commands heed SIGINT however they were started."""

import signal

import pytest

from benchmarks.retriever import __main__ as bench
from retriever import adopt, build
from retriever.evaluate import __main__ as evaluate
from retriever.interrupts import restore_interrupts

ABSENT = ("--corpus", "absent.jsonl", "--index", "i")
COMMANDS = {
    "build": (build.main, ("--kind", "bm25", *ABSENT)),
    "adopt": (adopt.main, ("--faiss", "absent", "--encoder", "absent", *ABSENT)),
    "evaluate": (evaluate.main, ("--index", "absent", "--questions", "absent")),
    "bench": (bench.main, ("--artifacts", "absent", "limits")),
}


@pytest.fixture(params=[signal.SIG_IGN, signal.default_int_handler, print], ids=str)
def inherited(request):
    """Each handler of SIGINT that a process may find; what was there before is put back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, request.param)
    yield request.param
    for number, handler in before.items():
        signal.signal(number, handler)


def test_only_an_ignored_interrupt_is_restored(inherited):
    restore_interrupts()
    expected = signal.default_int_handler if inherited is signal.SIG_IGN else inherited
    assert signal.getsignal(signal.SIGINT) is expected


@pytest.mark.parametrize("inherited", [signal.SIG_IGN], indirect=True)
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_started_with_sigint_ignored_can_be_interrupted(name, inherited):
    main, arguments = COMMANDS[name]
    assert main(list(arguments)) == 2
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.fixture
def sigint_is_ignored():
    """Have processes inherit what the shell gives its background jobs."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("sigint_is_ignored")
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_build_says_how_to_go_on(tmp_path, corpus_file, start_held, signum):
    command = ("--corpus", corpus_file, "--index", tmp_path / "i", "--kind", "bm25")
    process = start_held("retriever.build", "retriever.build:write_manifest", *command)
    process.send_signal(signum)
    _, stderr = process.communicate()
    assert process.returncode == 128 + signum
    assert "Traceback" not in stderr
    assert "run the same command again to go on" in stderr
    assert [path.name for path in tmp_path.iterdir()] == [".i.building"]
