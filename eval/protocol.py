"""Puts the protocol of each pass together: what its manifest says."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import httpx

from data_prep.steps import DataPrepError, sha256_of
from eval.answerers import Answerer, Pass
from eval.benchmarks import fingerprint, overlap
from eval.evaluator import ModelSetup
from eval.manifest import Manifest, describe_questions, installed_versions
from search_r1.client import SearchClientConfig
from search_r1.prompts import build_prompt
from search_r1.rows import Row
from search_r1.summary.summarize import code_commit


async def describe_corpus(config: SearchClientConfig) -> dict[str, Any]:
    """Ask the first server what it serves; one that cannot tell, such as Search-R1's, has none.

    Raises:
        DataPrepError: If no server answers.
    """
    token = config.read_token()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    url = config.urls[0]
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=10, headers=headers) as http:
            reply = await http.get(f"{url}/info")
    except httpx.HTTPError as error:
        raise DataPrepError(
            f"no retrieval server answers at {url} ({error!r}); start one "
            "(python -m retriever.server --index DIR), or give its address with --retriever."
        ) from error
    if reply.status_code == 404:
        return {"kind": "unknown"}
    if reply.status_code != 200:
        raise DataPrepError(f"{url}/info answers {reply.status_code}: {reply.text[:200]}")
    info = reply.json()
    manifest = info.get("manifest") or {}
    return {
        "kind": info["kind"],
        "passages": info["passages"],
        "sha256": (manifest.get("corpus") or {}).get("sha256"),
        "settings": manifest.get("settings"),
    }


async def require_corpus(config: SearchClientConfig, corpus: Mapping[str, Any], one: Pass) -> None:
    """Set a pass's answers aside when the server has another corpus by now; away, it cannot tell.

    Raises:
        DataPrepError: If it has.
    """
    try:
        now = await describe_corpus(config)
    except DataPrepError:
        return
    if now != corpus:
        aside = one.path.with_suffix(".jsonl.mixed")
        one.path.replace(aside)
        raise DataPrepError(
            f"the retrieval server at {config.urls[0]} serves another corpus than when "
            f"{one.path.name} was begun: {json.dumps(now)}, and it was {json.dumps(corpus)}. What "
            f"was answered is in {aside}; serve the first one and run the same command again."
        )


def claim(passes: Sequence[Pass], asking: ModelSetup, protocol: Manifest) -> None:
    """Write each pass's manifest.

    Raises:
        DataPrepError: If a file was begun under another; none is written then.
    """
    manifests = {one: replace(protocol, **_of_pass(one, asking)) for one in passes}
    for one, manifest in manifests.items():
        manifest.require_same(one.manifest_path)
    for one, manifest in manifests.items():
        manifest.write(one.manifest_path)


def protocol_of(
    answerer: Answerer,
    engine: str,
    rows: Sequence[Row],
    corpus: Mapping[str, Any],
    training: Sequence[str],
) -> Manifest:
    """Write down what all passes of a model share.

    Args:
        answerer: Whose passes they are.
        engine: What generates.
        rows: The questions.
        corpus: What :func:`describe_corpus` gave.
        training: Question files that the model was trained on, as far as they are known.
    """
    weights = [] if answerer.url else sorted(Path(answerer.model).glob("*.safetensors"))
    return Manifest(
        model=answerer.model,
        model_sha256=" ".join(map(sha256_of, weights)) or None,
        method="",
        decoding={},
        prompt="",
        form={},
        limits={},
        corpus=corpus,
        questions=describe_questions([row["data_source"] for row in rows], fingerprint(rows)),
        in_training=_in_training(training, rows),
        engine=engine,
        code=code_commit(),
        versions=installed_versions(),
    )


def _of_pass(one: Pass, asking: ModelSetup) -> dict[str, Any]:
    """Write down what is a pass's own."""
    parts = asking.parts_of(one.method)
    if one.method.prompt is not None:
        messages = one.method.prompt.build("QUESTION", "PASSAGES", asking.with_examples)
    else:
        messages = build_prompt(asking.prompt, "QUESTION") if asking.prompt else []
    text = "\n".join(f"{message['role']}: {message['content']}" for message in messages)
    return {
        "method": one.method.name,
        "decoding": asdict(one.decoding),
        "prompt": text or "each row's own",
        "form": {"parser": type(parts.parser).__name__, "style": type(parts.style).__name__},
        "limits": {**asdict(parts.config), "top_k": parts.top_k},
    }


def _in_training(files: Sequence[str], rows: Sequence[Row]) -> int | None:
    there = [Path(file) for file in files if Path(file).is_file()]
    return sum(len(overlap(rows, path)) for path in there) if there else None
