import os
import subprocess
import sys
import time

import pytest

from search_r1.processes.marked import marked_environment, pss_bytes
from search_r1.processes.peak_memory import MemorySampler, kind_of

MIB = 2**20
ALLOCATE = (
    "import sys, time; held = b'x' * (64 * 2**20); print('held', flush=True); time.sleep(600)"
)


def test_the_sampler_sums_every_process_of_a_run_and_keeps_the_peak() -> None:
    run_id = f"test-{os.getpid()}-memory"
    env = dict(os.environ) | marked_environment(run_id)
    sampler = MemorySampler(run_id, [], interval_s=0.05)
    alone = sampler.sample()
    children = [
        subprocess.Popen([sys.executable, "-c", ALLOCATE], env=env, stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    for child in children:
        assert child.stdout is not None
        child.stdout.readline()
    sampler.start()
    while sampler.samples < 3:
        time.sleep(0.02)
    for child in children:
        child.kill()
        child.communicate()
    sampler.stop()
    assert sampler.peak_bytes - alone > 2 * 64 * MIB
    assert sampler.processes_at_peak == 3
    assert sampler.sample() < sampler.peak_bytes - 2 * 64 * MIB, "the peak stays, the sum falls"
    report = sampler.report()
    assert report["peak_gb"] == round(sampler.peak_bytes / 2**30, 3)


def test_memory_of_a_process_that_has_ended_is_zero() -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    assert pss_bytes(child.pid) == 0
    assert pss_bytes(os.getpid()) > MIB


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        ("/x/.venv/bin/python -m retriever.server --index DIR", "retriever"),
        ("ray::WorkerDict.actor_rollout_update_actor", "WorkerDict"),
        ("ray::IDLE", "idle Ray workers"),
        ("/x/ray/core/src/ray/raylet/raylet --raylet_socket_name=/tmp/s", "Ray itself"),
        ("VLLM::EngineCore", "vLLM engine"),
        ("python -m search_r1.verl_plugin.main /runs/config.yaml", "training driver"),
        ("/usr/bin/sleep 5", "sleep"),
    ],
)
def test_processes_are_grouped_by_what_they_do(command: str, kind: str) -> None:
    assert kind_of(command) == kind
