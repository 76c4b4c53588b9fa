"""What a turn costs beside the engine and the retriever: decode, parse, check, encode, append.

A scripted engine and a searcher that answer at once; their own time is taken off. The context is
about 4,000 tokens long, an observation three passages of the quickstart's corpus, whole.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from statistics import median
from typing import Any

from transformers import AutoTokenizer

from search_r1.assembly import FormatConfig, LoopParts, assemble
from search_r1.loop import LoopConfig
from search_r1.prompts import build_prompt
from search_r1.runs.places import artifacts_dir
from search_r1.types import Generation, Passage, digest

_CONTEXT_TOKENS = 4000
_SEARCHES = 4
_TRAJECTORIES = 200
_TOP_K = 3
_FORMS = {
    "search_tags_raw": (FormatConfig(), "<search>{}</search>"),
    "hermes_chat": (
        FormatConfig(prompt_style="chat", result_style="chat", parser="hermes"),
        '<tool_call>\n{{"name": "search", "arguments": {{"query": "{}"}}}}\n</tool_call>',
    ),
}
_ANSWER = "The passages say so. <answer>Dublin</answer>"


class _Engine:
    """Plays encoded turns; keeps the seconds its own work took."""

    def __init__(self, turns: Sequence[list[int]]) -> None:
        self._turns = iter(turns)
        self.seconds = 0.0

    async def generate(
        self,
        context_ids: list[int],
        *,
        max_tokens: int,
        stop: Sequence[str],
        stop_token_ids: Sequence[int] = (),
    ) -> Generation:
        started = time.perf_counter()
        ids = next(self._turns)
        generation = Generation(ids, [-0.5] * len(ids), context_digest=digest(context_ids))
        self.seconds += time.perf_counter() - started
        return generation


class _Searcher:
    """Deals out passages, a new hand for every query."""

    def __init__(self, passages: list[Passage]) -> None:
        self._passages = passages
        self._next = 0

    async def search(self, queries: Sequence[str], top_k: int) -> list[list[Passage]]:
        start = self._next % (len(self._passages) - top_k)
        self._next += top_k
        return [self._passages[start : start + top_k]]


def main() -> None:
    """Measure both styles and print the result as a JSON line."""
    root = artifacts_dir()
    tokenizer = AutoTokenizer.from_pretrained(root / "models" / "smollm2-135m-instruct")
    with (root / "corpora" / "quickstart" / "corpus.jsonl").open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in islice(lines, 3 * _SEARCHES * _TRAJECTORIES)]
    passages = [Passage(row["id"], row["title"], row["text"]) for row in rows]
    result: dict[str, Any] = {
        "what": "ms a turn costs beside engine and retriever, at a context of 4,000 tokens",
        "context_tokens": _CONTEXT_TOKENS,
        "trajectories": _TRAJECTORIES,
        "passages_per_search": _TOP_K,
    }
    for name, (form, call) in _FORMS.items():
        result |= asyncio.run(_measure(name, form, call, tokenizer, passages))
    print(json.dumps(result))


async def _measure(
    name: str, form: FormatConfig, call: str, tokenizer: Any, passages: list[Passage]
) -> dict[str, float]:
    parts = assemble(tokenizer, (), replace(form, top_k=_TOP_K), LoopConfig(), _Searcher(passages))
    prompt = parts.style.prompt_ids(build_prompt("search_r1", "where was he born?"))
    prompt = (prompt * (_CONTEXT_TOKENS // len(prompt)))[:_CONTEXT_TOKENS]
    spent = [await _turn_ms(parts, prompt, call) for _ in range(_TRAJECTORIES)]
    return {
        f"{name}_ms_per_turn": median(ms for ms, _ in spent),
        f"{name}_observation_tokens": median(tokens for _, tokens in spent),
    }


async def _turn_ms(parts: LoopParts, prompt: list[int], call: str) -> tuple[float, float]:
    """Roll one trajectory out; gives milliseconds per turn and tokens per observation."""
    eos = parts.codec.eos_ids[0]
    texts = [f"I look it up. {call.format(f'query {n}')}" for n in range(_SEARCHES)]
    engine = _Engine([[*parts.codec.encode(text), eos] for text in (*texts, _ANSWER)])
    loop = parts.loop(engine)
    started = time.perf_counter()
    trajectory = await loop.run(prompt)
    seconds = time.perf_counter() - started - engine.seconds
    observed = len(trajectory.response_mask) - sum(trajectory.response_mask)
    return seconds / len(trajectory.turns) * 1000, observed / _SEARCHES


if __name__ == "__main__":
    main()
