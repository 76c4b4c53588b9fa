import http.server
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from search_r1.errors import LaunchError
from search_r1.launch.retriever import ready_status, wait_ready
from search_r1.processes.marked import (
    command_of,
    end_marked,
    find_marked,
    marked_environment,
    wait_until_gone,
)
from search_r1.processes.service import HOST, Service, free_port, is_port_free

SERVER = str(Path(__file__).with_name("tiny_server.py"))
SLEEPER = [sys.executable, "-c", "import time; time.sleep(600)"]


@pytest.fixture
def run_id(request: pytest.FixtureRequest) -> Iterator[str]:
    marker = f"test-{os.getpid()}-{request.node.name}"
    yield marker
    deadline = time.monotonic() + 10
    while find_marked(marker) and time.monotonic() < deadline:
        time.sleep(0.05)  # a killed process takes a moment to go on a busy machine
    assert end_marked(marker) == 0, "the test left processes behind"


def start(run_id: str, tmp_path: Path, *options: str) -> tuple[Service, int]:
    port = free_port()
    command = [sys.executable, SERVER, "--port", str(port), *options]
    env = dict(os.environ) | marked_environment(run_id)
    return Service("tiny server", command, tmp_path / "logs" / "s.log", env, tmp_path), port


def test_a_service_becomes_ready_and_its_whole_group_is_stopped(
    run_id: str, tmp_path: Path
) -> None:
    service, port = start(run_id, tmp_path, "--ready-after-s", "0.5")
    wait_ready(service, port, 20)
    assert not is_port_free(port)
    assert len(find_marked(run_id)) == 2, "the server and its child"
    service.stop()
    assert service.poll() is not None
    assert wait_until_gone(lambda: find_marked(run_id), 5) == []
    assert is_port_free(port)


def test_a_service_that_ignores_sigterm_is_killed(run_id: str, tmp_path: Path) -> None:
    service, port = start(run_id, tmp_path, "--stubborn")
    wait_ready(service, port, 20)
    service.stop(grace_s=0.2)
    assert service.poll() == -signal.SIGKILL
    assert wait_until_gone(lambda: find_marked(run_id), 5) == []


def test_a_service_that_ends_early_is_reported_with_its_last_words(
    run_id: str, tmp_path: Path
) -> None:
    service, port = start(run_id, tmp_path, "--fail")
    with pytest.raises(LaunchError, match=r"(?s)exit code 1 before .* the index is torn"):
        wait_ready(service, port, 20)


def test_a_service_that_is_never_ready_is_reported(run_id: str, tmp_path: Path) -> None:
    service, port = start(run_id, tmp_path, "--ready-after-s", "600")
    with service, pytest.raises(LaunchError, match="was not ready after 0 s"):
        wait_ready(service, port, 0.4)


def test_a_server_that_chooses_its_port_is_found_by_its_log(run_id: str, tmp_path: Path) -> None:
    command = [sys.executable, SERVER, "--port", "0"]
    env = dict(os.environ) | marked_environment(run_id)
    with Service("tiny server", command, tmp_path / "s.log", env, tmp_path) as service:
        port = wait_ready(service, 0, 20)
        assert ready_status(f"http://{HOST}:{port}") == 200


def test_somebody_elses_server_on_the_port_is_not_taken_for_ours(
    run_id: str, tmp_path: Path
) -> None:
    stranger, port = start(run_id, tmp_path / "stranger")
    with stranger:
        wait_ready(stranger, port, 20)
        env = dict(os.environ) | marked_environment(run_id)
        ours = Service("ours", SLEEPER, tmp_path / "ours.log", env, tmp_path)
        with ours, pytest.raises(LaunchError, match="the ours was not ready"):
            wait_ready(ours, port, 0.4)


def test_a_path_before_ready_is_kept() -> None:
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer((HOST, 0), Handler) as server:
        threading.Thread(target=server.handle_request).start()
        status = ready_status(f"http://{HOST}:{server.server_port}/wiki/")
    assert (status, asked) == (404, ["/wiki/ready"])
    assert ready_status(f"https://{HOST}:{server.server_port}") is None


def test_processes_in_sessions_of_their_own_are_found_and_ended(run_id: str) -> None:
    env = dict(os.environ) | marked_environment(run_id)
    daemon = subprocess.Popen(SLEEPER, env=env, start_new_session=True)
    deadline = time.monotonic() + 10
    while not find_marked(run_id) and time.monotonic() < deadline:
        time.sleep(0.05)  # a busy machine may not have run the new program yet
    assert find_marked(run_id) == [daemon.pid]
    assert "sleep(600)" in command_of(daemon.pid)
    reaper = subprocess.Popen(["true"])  # any child: ended ones must not count as found
    reaper.wait()
    assert end_marked(run_id) == 1
    assert daemon.wait() == -signal.SIGTERM


LAUNCHER = """
import os, sys, time
from pathlib import Path
from search_r1.processes.guardian import Guardian
from search_r1.processes.marked import marked_environment
from search_r1.processes.service import Service
run_id, folder = sys.argv[1:]
guardian = Guardian(run_id, Path(folder) / "ray")
(Path(folder) / "ray").mkdir()
env = dict(os.environ) | marked_environment(run_id)
daemonize = "import subprocess, sys; subprocess.Popen(sys.argv[1:], start_new_session=True)"
sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
Service("child", sleep, Path(folder) / "a.log", env, Path(folder))
Service("daemon", [sys.executable, "-c", daemonize, *sleep], Path(folder) / "b.log", env, Path("/"))
print("started", flush=True)
time.sleep(600)
"""


def test_nothing_is_left_when_the_launcher_is_killed(run_id: str, tmp_path: Path) -> None:
    launcher = subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, run_id, str(tmp_path)], stdout=subprocess.PIPE
    )
    assert launcher.stdout is not None
    assert launcher.stdout.readline() == b"started\n"
    deadline = time.monotonic() + 10
    while len(find_marked(run_id)) != 2 and time.monotonic() < deadline:
        time.sleep(0.05)  # until the daemon's parent is gone
    assert len(find_marked(run_id)) == 2, "the child, and the daemon nobody is the parent of"
    launcher.kill()
    launcher.wait()
    launcher.stdout.close()
    assert wait_until_gone(lambda: find_marked(run_id), 15) == []
    deadline = time.monotonic() + 10
    while (tmp_path / "ray").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not (tmp_path / "ray").exists()


def test_a_taken_port_is_not_free() -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        assert not is_port_free(taken.getsockname()[1])
    assert is_port_free(free_port())
