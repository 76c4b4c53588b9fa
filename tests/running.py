"""What tests talk to over real HTTP: an app in a thread, our own model server as a process."""

import contextlib
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import uvicorn

from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[1]


@contextlib.contextmanager
def serve_app(app, port=0):
    """Serve an app on a port of this machine, any free one for 0; gives the address."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            wait_until(lambda: server.started)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@contextlib.contextmanager
def serve_chained_model(folder, max_num_seqs):
    """Serve a model that searches on a question, then answers; gives address and process."""
    from tests.tiny_model import save_chained_model  # imports torch

    save_chained_model(folder / "model")
    command = [sys.executable, "-m", "search_r1.serve", "--model", str(folder / "model")]
    engine = ["--max-model-len", "4096", "--max-num-seqs", str(max_num_seqs)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--port", "0", "--", *engine],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    try:
        said = next((line for line in process.stdout if line.startswith("serving ")), None)
        assert said, (folder / "log").read_text()[-5000:]
        threading.Thread(target=process.stdout.read, daemon=True).start()
        yield re.search(r"http://\S+(?=/v1;)", said)[0], process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
