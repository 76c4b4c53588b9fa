"""Serve an index by Ray Serve: ``python -m retriever.scale --index DIR --replicas 4``.

Every replica is the application of ``retriever.server`` over the whole index. With ``--shards``
the rows of a flat index are divided: a replica then encodes queries, asks all shards and merges.
"""

import argparse
import contextlib
import logging
import os
import signal
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
from fastapi import FastAPI
from ray import serve
from ray.exceptions import NodeDiedError, RayActorError, RayError, WorkerCrashedError
from ray.serve.exceptions import BackPressureError, RayServeException

from contract import TOKEN_VARIABLE
from retriever.encoders.encoder import check_encoder_folder, open_encoder
from retriever.environment import prepare_libraries
from retriever.errors import RetrievalError, SearchUnavailableError
from retriever.indexes.dense import DenseRetriever, find_encoder
from retriever.indexes.kinds import open_retriever, open_store
from retriever.indexes.shards import Shard, ShardedIndex, check_shardable
from retriever.options import OpenOptions
from retriever.server import read_token
from retriever.serving.app import make_app
from retriever.serving.limits import Limits
from retriever.storage.manifest import read_manifest
from retriever.types import Retriever

logger = logging.getLogger(__name__)

NAME = "retriever"  # of the Ray Serve application

_FAILURES = (RetrievalError, ValueError, OSError, RuntimeError, RayError, RayServeException)

# Under way in one replica, whose own limits answer 503 before. As many more may wait in front of a
# deployment whose replicas are full or starting, then Serve answers 503; its default has no bound.
_MOST_REQUESTS = 4096
_SHARD_REQUESTS = 64
_TARGET_REQUESTS = 64  # of clients per replica, before another replica is started
_TARGET_SEARCHES = 2  # of replicas per shard replica
_SHARD_TIMEOUT_S = 30.0
# Of a shard that is away or busy; whatever else it raises would be raised again.
_PASSING = (RayActorError, NodeDiedError, WorkerCrashedError, BackPressureError, TimeoutError)


@dataclass(frozen=True, slots=True)
class ScaleOptions:
    """What is served, and by how many."""

    index: Path
    """Index folder, at the same place on every node."""
    shards: int = 1
    """Parts that the rows of a flat index are divided into."""
    min_replicas: int = 1
    """Replicas of the application, and of each shard, that always run."""
    max_replicas: int = 1
    """Replicas that Ray Serve may start when requests queue up."""
    open_options: OpenOptions = field(default_factory=lambda: OpenOptions(threads=1))
    """How replicas open the index; ``threads`` is also the cores that Ray keeps for each."""

    def __post_init__(self) -> None:
        """Check the numbers."""
        if not 1 <= self.min_replicas <= self.max_replicas:
            raise ValueError(
                f"min_replicas is {self.min_replicas} and max_replicas {self.max_replicas}; "
                "expected 1 or more, and no more at least than at most."
            )

    @property
    def threads(self) -> int:
        """Cores of one replica."""
        return self.open_options.threads or 1

    @property
    def cores(self) -> int:
        """Cores that the fewest replicas need."""
        actors = 1 if self.shards == 1 else 1 + self.shards
        return actors * self.min_replicas * self.threads


class ShardReplica:
    """One shard in a process of its own."""

    def __init__(self, options: ScaleOptions, number: int) -> None:
        """Map the rows."""
        self._shard = Shard(options.index, number, options.shards, options.threads)

    def search(self, vectors: Any, top_k: int) -> Any:
        """Return scores and positions; see ``Shard.search``."""
        return self._shard.search(vectors, top_k)


@serve.ingress()
class AppReplica:
    """One process with the whole application."""

    def __init__(self, options: ScaleOptions, token: str | None, *shards: Any) -> None:
        """Open the index, or the way to its shards."""
        self._manifest = read_manifest(options.index)
        self._token = token
        self._retriever: Retriever = (
            open_sharded(options, shards)
            if shards
            else open_retriever(options.index, options.open_options)
        )

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Give Ray Serve the application."""
        return make_app(self._retriever, Limits(), manifest=self._manifest, token=self._token)


def open_sharded(options: ScaleOptions, shards: Any) -> Retriever:
    """Open encoder and passages; vectors are searched by handles of ``ShardReplica``."""
    opening = options.open_options
    manifest, store = open_store(options.index, opening)
    settings = manifest.settings
    encoder_folder = opening.encoder or find_encoder(options.index, settings)
    encoder = open_encoder(encoder_folder, settings["encoder"], opening.threads)
    dimension = settings["encoder"]["dimension"]
    index = ShardedIndex([_ask(shard) for shard in shards], store.id_rank, dimension)
    return DenseRetriever(index, encoder, store, manifest.kind)


def _ask(shard: Any) -> Any:
    def start(vectors: Any, top_k: int) -> Any:
        reply = shard.search.remote(vectors, top_k)

        def wait() -> Any:
            try:
                return reply.result(timeout_s=_SHARD_TIMEOUT_S)
            except _PASSING as error:
                raise SearchUnavailableError(
                    f"a shard did not answer ({type(error).__name__}); ask again later, and see "
                    "Ray's logs if it stays away.",
                    retry_after_s=1.0,
                ) from error

        return wait

    return start


def check_servable(options: ScaleOptions) -> None:
    """Check index, options and encoder folder, without loading anything.

    Raises:
        BadIndexError: If the index is not whole or not to be divided, or has no use for an option.
        EncoderError: If there is no encoder.
    """
    manifest, store = open_store(options.index, options.open_options)
    store.close()
    check_shardable(manifest, options.shards)
    settings = manifest.settings.get("dense", manifest.settings)  # hybrid has both parts'
    if "encoder_folder" in settings:
        given = options.open_options.encoder
        check_encoder_folder(given or find_encoder(options.index, settings))


def make_application(options: ScaleOptions, token: str | None = None) -> Any:
    """Describe the deployments to Ray Serve; nothing is started."""
    resources = {"ray_actor_options": {"num_cpus": options.threads}}
    shards = [
        serve.deployment(ShardReplica)
        .options(
            name=f"shard-{number}",
            max_ongoing_requests=_SHARD_REQUESTS,
            max_queued_requests=_SHARD_REQUESTS,
            **_replicas(options, _TARGET_SEARCHES),
            **resources,
        )
        .bind(options, number)
        for number in range(options.shards if options.shards > 1 else 0)
    ]
    app = serve.deployment(AppReplica).options(
        name="app",
        max_ongoing_requests=_MOST_REQUESTS,
        max_queued_requests=_MOST_REQUESTS,
        **_replicas(options, _TARGET_REQUESTS),
        **resources,
    )
    return app.bind(options, token, *shards)


def _replicas(options: ScaleOptions, target_requests: int) -> dict[str, Any]:
    if options.min_replicas == options.max_replicas:
        return {"num_replicas": options.min_replicas}
    return {
        "autoscaling_config": {
            "min_replicas": options.min_replicas,
            "max_replicas": options.max_replicas,
            "target_ongoing_requests": target_requests,
        }
    }


def start(options: ScaleOptions, host: str, port: int, token: str | None = None) -> None:
    """Serve on the Ray cluster that this process is connected to; returns when it answers."""
    serve.start(http_options={"host": host, "port": port})
    serve.run(make_application(options, token), name=NAME, route_prefix="/")


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 after a signal, 2 with one line on stderr when it cannot serve."""
    parsed = _parse(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    logger.setLevel(logging.INFO)
    prepare_libraries()  # replicas inherit it
    try:
        options = _read_options(parsed)
        token = read_token(parsed.token_file)
        check_servable(options)  # what is wrong shows before Ray is started
        _connect(parsed.address, options.cores)
    except _FAILURES as error:
        return _tell(error)
    stopped = threading.Event()
    # Only now: ray.init puts handlers of its own in place, which end the process at once.
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: stopped.set())
    try:
        start(options, parsed.host, parsed.port, token)
        logger.info("serving %s at http://%s:%d", options.index, parsed.host, parsed.port)
        stopped.wait()
    except _FAILURES as error:
        return _tell(error)
    finally:
        with contextlib.suppress(RayServeException):  # Serve did not start
            serve.delete(NAME)
        if parsed.address is None:
            serve.shutdown()
        ray.shutdown()
    return 0


def _tell(error: Exception) -> int:
    """Write one line, also of an error whose message holds the traceback of another process."""
    sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
    return 2


def _connect(address: str | None, cores: int) -> None:
    if address is not None:
        ray.init(address=address, log_to_driver=False)
        return
    here = os.cpu_count() or 1
    if cores > here:
        logger.warning("%d cores are asked for, this machine has %d", cores, here)
    # At Ray's 15 a server stands still beside anything else that computes.
    os.environ.setdefault("RAY_worker_niceness", "0")
    ray.init(
        address="local", num_cpus=max(cores, here), include_dashboard=False, log_to_driver=False
    )


def _read_options(parsed: argparse.Namespace) -> ScaleOptions:
    opening = OpenOptions(
        encoder=parsed.encoder.resolve() if parsed.encoder else None,
        threads=parsed.threads,
        nprobe=parsed.nprobe,
        ef_search=parsed.ef_search,
        refine_factor=parsed.refine_factor,
    )
    least = parsed.replicas if parsed.min_replicas is None else parsed.min_replicas
    most = max(least, parsed.replicas) if parsed.max_replicas is None else parsed.max_replicas
    return ScaleOptions(parsed.index.resolve(), parsed.shards, least, most, opening)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m retriever.scale", description=__doc__)
    add = parser.add_argument
    add("--index", type=Path, required=True, help="folder made by retriever.build")
    add("--shards", type=int, default=1, help="parts of a flat index (default: 1)")
    add("--replicas", type=int, default=1, help="replicas, also of each shard (default: 1)")
    add("--min-replicas", type=int, help="replicas that always run, when their number may change")
    add("--max-replicas", type=int, help="replicas at most, when their number may change")
    add("--threads", type=int, default=1, help="CPU threads and cores of a replica (default: 1)")
    add("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    add("--port", type=int, default=8000, help="port to listen on (default: 8000)")
    add("--address", help="a running Ray cluster, or auto; default: one on this machine")
    add("--token-file", type=Path, help=f"bearer token to ask for (or set {TOKEN_VARIABLE})")
    add("--encoder", type=Path, help="encoder folder, if it moved since the index was built")
    add("--nprobe", type=int, help="ivf, ivfpq: cells to look into")
    add("--ef-search", type=int, help="hnsw: candidates to look at")
    add("--refine-factor", type=int, help="ivfpq: candidates to score again, in tens")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
