"""Peak memory of a run: all its processes together, and each kind of process by itself."""

from __future__ import annotations

import os
import re
import threading
import time
from collections import defaultdict
from collections.abc import Sequence

from search_r1.processes.marked import command_of, find_marked, pss_bytes

_KINDS: tuple[tuple[str, str], ...] = (
    (r"retriever\.server", "retriever"),
    (r"data_prep\.", "data_prep"),
    (r"search_r1\.verl_plugin\.main", "training driver"),
    (r"search_r1\.(launch|processes)", "launcher"),
    (r"EngineCore|VLLM::|vllm", "vLLM engine"),
    (r"^ray::IDLE", "idle Ray workers"),
    (r"raylet|gcs_server|/ray/|^ray-dashboard|setup_worker|default_worker", "Ray itself"),
    (r"multiprocessing|resource_tracker", "Python helpers"),
)


def kind_of(command: str) -> str:
    """Name the kind of a process from its command line, such as ``retriever`` or ``WorkerDict``."""
    actor = re.match(r"ray::(\w+)", command)
    if actor and actor.group(1) != "IDLE":
        return actor.group(1)
    for pattern, kind in _KINDS:
        if re.search(pattern, command):
            return kind
    return command.split(" ")[0].rsplit("/", 1)[-1] or "?"


class MemorySampler(threading.Thread):
    """Samples the sum of PSS of a run's processes until stopped; keeps the peaks.

    PSS splits a shared page among the processes that share it, so the sum counts each page once.

    Args:
        run_id: Marks the processes of the run.
        own_pids: Processes without the mark that count too: the launcher, its guardian.
        interval_s: Time between samples; stretched where sampling takes more than 2 % of it.
    """

    def __init__(self, run_id: str, own_pids: Sequence[int], interval_s: float = 2.0) -> None:
        super().__init__(name="memory-sampler", daemon=True)
        self._run_id = run_id
        self._own_pids = tuple(own_pids)
        self._interval_s = interval_s
        self._is_stopped = threading.Event()
        self.peak_bytes = 0
        self.processes_at_peak = 0
        self.bytes_at_peak: dict[str, int] = {}
        self.peak_bytes_of_kind: dict[str, int] = {}
        self.samples = 0

    def run(self) -> None:
        """Sample until :meth:`stop`."""
        while not self._is_stopped.is_set():
            started = time.thread_time()
            self.sample()
            cost_s = time.thread_time() - started
            self._is_stopped.wait(max(self._interval_s, 50 * cost_s))

    def sample(self) -> int:
        """Take one sample now; gives the sum in bytes."""
        now: dict[str, int] = defaultdict(int)
        pids = [os.getpid(), *self._own_pids, *find_marked(self._run_id)]
        for pid in dict.fromkeys(pids):
            if size := pss_bytes(pid):
                now[kind_of(command_of(pid))] += size
        total = sum(now.values())
        self.samples += 1
        for kind, size in now.items():
            self.peak_bytes_of_kind[kind] = max(self.peak_bytes_of_kind.get(kind, 0), size)
        if total > self.peak_bytes:
            self.peak_bytes = total
            self.processes_at_peak = len(set(pids))
            self.bytes_at_peak = dict(now)
        return total

    def stop(self) -> None:
        """End the thread."""
        self._is_stopped.set()
        self.join()

    def report(self) -> dict[str, object]:
        """Give the peaks in GiB, the largest kind first."""
        by_size = sorted(self.peak_bytes_of_kind.items(), key=lambda item: -item[1])
        return {
            "peak_gb": round(self.peak_bytes / 2**30, 3),
            "processes_at_peak": self.processes_at_peak,
            "at_peak_gb": {k: round(v / 2**30, 3) for k, v in self.bytes_at_peak.items()},
            "peak_of_kind_gb": {k: round(v / 2**30, 3) for k, v in by_size},
            "samples": self.samples,
        }
