from search_r1.processes.logs import last_errors

LOG = """\
(TaskRunner pid=123) Training Progress:   0%|          | 0/10
(WorkerDict pid=456, ip=10.0.0.1) ValueError: the batch is empty
Traceback (most recent call last):
  File "main.py", line 1, in <module>
ray.exceptions.RayTaskError(ValueError): ray::TaskRunner.run() (pid=123)
ValueError: the batch is empty
"""


def test_the_last_errors_of_a_log_are_found_without_rays_prefixes() -> None:
    assert last_errors(LOG).splitlines() == [
        "    ray.exceptions.RayTaskError(ValueError): ray::TaskRunner.run() (pid=123)",
        "    ValueError: the batch is empty",
    ]


def test_a_log_without_exceptions_gives_its_last_lines() -> None:
    assert last_errors("one\n\nKilled\n") == "    one\n    Killed"
    assert last_errors("") == "    (it is empty)"
