import errno
import json
import signal
import subprocess
import sys

import pytest

from data_prep.steps import (
    DataPrepError,
    Ticker,
    exclusive,
    is_current,
    new_folder,
    read_receipt,
    require_disk,
    run_command,
    write_receipt,
)
from search_r1.runs.places import artifacts_dir


def fail(error):
    def main():
        raise error

    return main


def test_expected_failure_is_one_line_and_exit_code_1(capsys):
    assert run_command(fail(DataPrepError("no file at x; give one."))) == 1
    assert capsys.readouterr().err == "error: no file at x; give one.\n"


def test_full_disk_is_one_line_and_exit_code_1(capsys):
    assert run_command(fail(OSError(errno.ENOSPC, "No space left on device"))) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_interruption_is_exit_code_130(capsys):
    assert run_command(fail(KeyboardInterrupt())) == 130
    assert "nothing half-written" in capsys.readouterr().err


def test_a_command_started_with_sigint_ignored_can_be_interrupted():
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert run_command(lambda: signal.raise_signal(signal.SIGINT)) == 130
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_a_ticker_is_silent_until_it_is_time(capsys, monkeypatch):
    ticker = Ticker()
    ticker.tell("too early")
    monkeypatch.setattr("data_prep.steps._TICK_S", 0)
    ticker.tell("  3 of 5")
    assert capsys.readouterr().out == "  3 of 5\n"


def test_bug_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        run_command(fail(ZeroDivisionError()))


def _write_and_fail(folder):
    (folder / "a.txt").write_text("a")
    (folder / "a.txt" / "b.txt").write_text("b")


def test_new_folder_appears_only_when_the_block_succeeds(tmp_path):
    target = tmp_path / "made"
    with pytest.raises(NotADirectoryError), new_folder(target) as folder:
        _write_and_fail(folder)
    assert list(tmp_path.iterdir()) == []
    with new_folder(target) as folder:
        (folder / "a.txt").write_text("a")
        assert not target.exists()
    assert (target / "a.txt").read_text() == "a"


def test_failed_replacement_keeps_the_old_folder(tmp_path):
    target = tmp_path / "made"
    target.mkdir()
    (target / "old.txt").write_text("old")
    with pytest.raises(ValueError, match="half-way"), new_folder(target):
        raise ValueError("half-way")
    assert (target / "old.txt").exists()
    with new_folder(target) as folder:
        (folder / "new.txt").write_text("new")
    assert [path.name for path in target.iterdir()] == ["new.txt"]
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


@pytest.mark.parametrize("change", ["inputs", "content", "missing file", "no receipt"])
def test_folder_is_current_until_inputs_or_files_change(tmp_path, change):
    (tmp_path / "a.txt").write_text("a")
    write_receipt(tmp_path, {"seed": 0}, {"license": "CC0"})
    assert is_current(tmp_path, {"seed": 0})
    assert read_receipt(tmp_path)["license"] == "CC0"
    inputs = {"seed": 0}
    if change == "inputs":
        inputs = {"seed": 1}
    elif change == "content":
        (tmp_path / "a.txt").write_text("b")
    elif change == "missing file":
        (tmp_path / "a.txt").unlink()
    else:
        (tmp_path / "manifest.json").write_text(json.dumps([]))
    assert not is_current(tmp_path, inputs)


def test_disk_check_names_need_and_way_out(tmp_path):
    require_disk(tmp_path, 1, "a test")
    with pytest.raises(DataPrepError, match="SEARCH_R1_ARTIFACTS"):
        require_disk(tmp_path, 10**18, "a test")


def test_artifacts_folder_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("SEARCH_R1_ARTIFACTS", str(tmp_path / "elsewhere"))
    assert artifacts_dir() == tmp_path / "elsewhere"
    monkeypatch.delenv("SEARCH_R1_ARTIFACTS")
    assert artifacts_dir().name == "artifacts"


def test_second_process_waits_for_the_first(tmp_path):
    program = (
        "import sys\nfrom pathlib import Path\nfrom data_prep.steps import exclusive\n"
        "with exclusive(Path(sys.argv[1])): print('entered', flush=True)\n"
    )
    with exclusive(tmp_path):
        second = subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        assert "waiting for it to finish" in second.stdout.readline()
    rest, _ = second.communicate(timeout=30)
    assert rest == "entered\n"
