"""Small real corpora, a real encoder with random weights, and a real server on a free port."""

import contextlib
import json
import subprocess
import sys

import httpx
import pytest

from retriever.build import build_index
from retriever.indexes.kinds import open_retriever
from retriever.options import BuildOptions
from retriever.serving.app import make_app
from tests.running import serve_app
from tests.tiny_bert import save_tiny_bert
from tests.waiting import wait_until

_PROCESSES = ("test_build", "test_encode", "test_encode_ray", "test_scale")
_BY_OPENVINO = ("test_openvino_model", "test_kinds", *_PROCESSES)


@pytest.fixture(autouse=True)
def torch_runs_encoders(request, monkeypatch):
    """Spare tests the half second in which OpenVINO compiles a model.

    Not those about it, nor those that compare with another process, which uses what is there.
    """
    if request.module.__name__.rpartition(".")[2] not in _BY_OPENVINO:
        monkeypatch.setitem(sys.modules, "openvino", None)


def _write_corpus(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def _write_encoder(folder, seed):
    """Save a two-layer BERT with random weights as a sentence-transformers folder."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import BertModel

    save_tiny_bert(folder / "bert", BertModel, seed)
    transformer = Transformer(str(folder / "bert"), max_seq_length=64)
    model = SentenceTransformer(modules=[transformer, Pooling(32, "mean")], device="cpu")
    model.save(str(folder / "model"), create_model_card=False)
    return folder / "model"


@pytest.fixture(scope="session")
def corpus_file(tmp_path_factory, tiny_passages):
    return _write_corpus(tmp_path_factory.mktemp("corpus") / "tiny.jsonl", tiny_passages)


@pytest.fixture(scope="session")
def encoder_folder(tmp_path_factory):
    return _write_encoder(tmp_path_factory.mktemp("encoder") / "tiny-bert", seed=1)


@pytest.fixture(scope="session")
def bm25_index(tmp_path_factory, corpus_file):
    folder = tmp_path_factory.mktemp("index") / "bm25"
    build_index(corpus_file, folder, "bm25")
    return folder


@pytest.fixture(scope="session")
def flat_index(tmp_path_factory, corpus_file, encoder_folder):
    folder = tmp_path_factory.mktemp("index") / "flat"
    build_index(corpus_file, folder, "flat", BuildOptions(encoder=encoder_folder, batch_size=5))
    return folder


@pytest.fixture(scope="session")
def bm25(bm25_index):
    with contextlib.closing(open_retriever(bm25_index)) as retriever:
        yield retriever


@contextlib.contextmanager
def _serving(retriever, limits=None, **options):
    """Serve in a thread over real HTTP; gives a client bound to the server's address."""
    with (
        serve_app(make_app(retriever, limits, **options)) as url,
        httpx.Client(base_url=url, timeout=100, trust_env=False) as client,
    ):
        yield client


@pytest.fixture(scope="session")
def server(bm25):
    with _serving(bm25) as client:
        yield client


def _start(module, *arguments):
    """Start a command of the package as a user would."""
    return subprocess.Popen(
        [sys.executable, "-m", module, *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


_HELD = """
import importlib, sys, time
module, (place, name), left, *arguments = sys.argv[1], sys.argv[2].split(":"), *sys.argv[3:]
calls = iter(range(int(left)))
place = importlib.import_module(place)
function = getattr(place, name)
def hold(*given, **named):
    if next(calls, None) is not None:
        return function(*given, **named)
    print("held", flush=True)
    time.sleep(3600)
setattr(place, name, hold)
sys.exit(importlib.import_module(module).main(arguments))
"""


def _start_held(module, function, *arguments, after=0):
    """Start a command and come back when it calls a function, ``module:name``; it never returns.

    A test that acts in the middle of a command cannot come too late that way. ``after`` so many
    calls, which do return.
    """
    process = subprocess.Popen(
        [sys.executable, "-c", _HELD, module, function, str(after), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    if process.stdout.readline() != "held\n":
        pytest.fail(f"{module} ended without calling {function}: {process.communicate()[1]}")
    return process


def _run(module, *arguments):
    """Run a command to its end; gives exit status and stderr."""
    process = _start(module, *arguments)
    _, stderr = process.communicate()
    return process.returncode, stderr


def _shared(function):
    return pytest.fixture(scope="session", name=function.__name__[1:])(lambda: function)


@pytest.fixture(scope="session", name="wait_until")
def _wait_until():
    return wait_until


# Helpers come as fixtures, because test folders are no packages to import from.
write_corpus = _shared(_write_corpus)
write_encoder = _shared(_write_encoder)
serving = _shared(_serving)
start = _shared(_start)
start_held = _shared(_start_held)
run = _shared(_run)
