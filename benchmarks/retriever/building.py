"""How near a build comes to its encoder's speed, and what memory it takes."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any

import psutil

from benchmarks.retriever.direct import direct_process, encode_queries
from benchmarks.retriever.materials import BenchError, Materials, say, write_lines
from benchmarks.retriever.tiny_encoder import make_passages, save_tiny_encoder
from retriever.build import build_index
from retriever.encoders.encoder import Encoder
from retriever.options import BuildOptions
from retriever.storage.corpus import read_corpus

_FEW, _MANY = 64, 832
_SIZES = (10_000, 300_000)
_PRECISIONS = ("fp32", "bf16")
_BATCH = 64
_POLL_S = 0.05


def run(materials: Materials) -> dict[str, Any]:
    """Measure the speed with the real encoder and the memory with a tiny one."""
    materials.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=materials.folder) as folder:
        speed = _speed(materials, Path(folder))
        return {"speed": speed, "memory": _memory(Path(folder))}


def _speed(materials: Materials, folder: Path) -> dict[str, float]:
    """Time two builds, so that what does not grow with the corpus drops out."""
    lines = [line.raw for line in islice(read_corpus(materials.extracts()), _MANY)]
    texts = [line.passage.contents for line in islice(read_corpus(materials.extracts()), _MANY)]
    corpora = {}
    for count in (_FEW, _MANY):
        corpora[count] = folder / f"{count}.jsonl"
        corpora[count].write_bytes(b"\n".join(lines[:count]) + b"\n")
    with direct_process() as direct:
        # The warm-up build loads libraries and the model's file into memory.
        took = [
            direct.call(time_build, corpora[n], folder / f"{place}", materials.encoder)
            for place, n in enumerate((_FEW, _FEW, _MANY))
        ]
        alone = direct.call(encode_at_once, materials.encoder, texts[_FEW:])
        library = max(
            direct.call(encode_queries, materials.encoder, precision, texts[_FEW:], _BATCH, True)
            for precision in _PRECISIONS
        )
    rate = (_MANY - _FEW) / (took[2] - took[1])
    return {
        "passages_per_s": rate,
        "encoder_alone_per_s": alone,
        "share_of_encoder": rate / alone,
        "sentence_transformers_per_s": library,
    }


def encode_at_once(encoder: Path, passages: list[str]) -> float:
    """Encode passages in one call, with nothing around it; gives passages/s."""
    opened = Encoder(encoder)
    opened.encode_passages(passages[:8])
    started = time.perf_counter()
    opened.encode_passages(passages)
    return len(passages) / (time.perf_counter() - started)


def time_build(corpus: Path, target: Path, encoder: Path) -> float:
    """Build a flat index in this process; gives seconds."""
    started = time.perf_counter()
    build_index(corpus, target, "flat", BuildOptions(encoder=encoder))
    return time.perf_counter() - started


def _memory(folder: Path) -> dict[str, Any]:
    with direct_process() as direct:
        encoder = direct.call(save_tiny_encoder, folder / "tiny")
    rows = []
    for count in _SIZES:
        say(f"  building {count} tiny passages")
        corpus = folder / f"tiny-{count}.jsonl"
        write_lines(corpus, make_passages(count))
        rows.append({"passages": count} | watch_build(corpus, folder / f"of-{count}", encoder))
    growth = rows[-1]["unmapped_mb"] / rows[0]["unmapped_mb"]
    return {"rows": rows, "growth": growth}


def watch_build(corpus: Path, target: Path, encoder: Path) -> dict[str, float]:
    """Run the build command and watch it; gives seconds and its greatest memory in MB.

    Raises:
        BenchError: If it fails.
    """
    command = [sys.executable, "-m", "retriever.build", "--corpus", str(corpus)]
    command += ["--index", str(target), "--kind", "flat", "--encoder", str(encoder)]
    started = time.perf_counter()
    resident = unmapped = 0.0
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        watched = psutil.Process(process.pid)
        while process.poll() is None:
            try:
                family = [watched, *watched.children(recursive=True)]
                shown = [each.memory_info() for each in family]
            except psutil.NoSuchProcess:
                continue
            resident = max(resident, sum(m.rss for m in shown))
            unmapped = max(unmapped, sum(m.rss - m.shared for m in shown))
            time.sleep(_POLL_S)
        if process.returncode != 0:
            log.seek(0)
            raise BenchError(f"{' '.join(command)} failed:\n{log.read().decode()[-2000:]}")
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "resident_mb": resident / 1e6, "unmapped_mb": unmapped / 1e6}
