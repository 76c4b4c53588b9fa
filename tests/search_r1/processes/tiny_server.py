"""A tiny HTTP server for tests: ready after a while, stubborn or short-lived on request."""

import argparse
import http.server
import signal
import subprocess
import sys
import time


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        is_ready = time.monotonic() >= READY_AT
        self.send_response(200 if is_ready else 503)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int, required=True)
parser.add_argument("--ready-after-s", type=float, default=0.0)
parser.add_argument("--stubborn", action="store_true", help="ignore SIGTERM")
parser.add_argument("--fail", action="store_true", help="end at once with an error")
options = parser.parse_args()
READY_AT = time.monotonic() + options.ready_after_s
if options.fail:
    sys.exit("the index is torn")
if options.stubborn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])  # a grandchild
server = http.server.ThreadingHTTPServer(("127.0.0.1", options.port), Handler)
sys.stdout.write(f"serving at http://127.0.0.1:{server.server_port}\n")
sys.stdout.flush()
server.serve_forever()
