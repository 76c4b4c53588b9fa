"""Wait for what happens, not for a time to pass."""

import time


def wait_until(is_true, timeout_s=100.0):
    """Look again and again; the limit only tells a hang from an answer."""
    ends = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < ends, "waited too long"
        time.sleep(0.005)
