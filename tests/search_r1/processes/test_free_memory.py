import os
from pathlib import Path

from search_r1.processes import free_memory

GIB = 2**30


def test_a_container_limit_counts_as_free_memory(tmp_path: Path) -> None:
    for name, text in (
        ("memory.max", str(10 * GIB)),
        ("memory.current", str(6 * GIB)),
        ("memory.stat", f"inactive_file {GIB}\nactive_file {GIB}\n"),
    ):
        (tmp_path / name).write_text(text)
    limit, used = str(tmp_path / "memory.max"), str(tmp_path / "memory.current")
    assert free_memory.cgroup_left(limit, used) == 6 * GIB
    (tmp_path / "memory.max").write_text("max")
    assert free_memory.cgroup_left(limit, used) is None
    assert free_memory.available_memory_bytes() <= os.sysconf("SC_PAGE_SIZE") * os.sysconf(
        "SC_PHYS_PAGES"
    )
