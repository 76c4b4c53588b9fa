"""The real loop with a scripted model, offline: ``make demo`` prints every turn and its mask.

Mask 1 (the model wrote it, it is trained on) is green, mask 0 (it was given) is dim. Without a
terminal, or with ``NO_COLOR`` set, the same text is plain.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from search_r1.errors import RetrieverError
from search_r1.loop import LoopConfig, SearchLoop
from search_r1.parsers.formats.search_tags import SearchTagsParser
from search_r1.policies.scripted import ScriptedPolicy, ScriptedTurn
from search_r1.prompts import build_prompt
from search_r1.rewards import RewardConfig, score
from search_r1.runs.places import artifacts_dir
from search_r1.tokens import Codec
from search_r1.tools.search import Searcher, SearchTool
from search_r1.tools.toolbox import ToolBox
from search_r1.types import Passage, Trajectory, Turn, digest

MODEL = Path("models") / "smollm2-135m-instruct"

PASSAGES = (
    Passage(
        "1",
        "Dracula",
        "Dracula is an 1897 Gothic horror novel by Irish author Bram Stoker, told in letters.",
    ),
    Passage(
        "2",
        "Bram Stoker",
        "Bram Stoker was born in Clontarf, Dublin, in 1847. He managed a theatre in London.",
    ),
    Passage(
        "3",
        "Dublin",
        "Dublin is the capital of Ireland. It lies on the east coast, on the River Liffey.",
    ),
    Passage(
        "4", "Frankenstein", "Frankenstein is an 1818 novel by the English author Mary Shelley."
    ),
)


class ByteCodec:
    """One token per UTF-8 byte and one end-of-text token: a tokenizer that needs no file."""

    eos_ids: tuple[int, ...] = (256,)
    special_ids: Mapping[str, int] = MappingProxyType({})

    def encode(self, text: str) -> list[int]:
        """Encode as UTF-8."""
        return list(text.encode())

    def decode(self, ids: Sequence[int]) -> str:
        """Decode bytes; a cut character becomes U+FFFD."""
        pieces = re.split(
            rb"(\xf8)", bytes(0xF8 if token == 256 else token for token in ids)
        )  # F8: never in UTF-8
        return "".join(
            "<|end|>" if piece == b"\xf8" else piece.decode(errors="replace") for piece in pieces
        )


class TokenizerFileCodec:
    """A ``tokenizer.json`` read by the tokenizers library alone, without torch."""

    def __init__(self, path: Path, eos: str) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(path))
        self._tokenizer.encode_special_tokens = (
            True  # "<|im_end|>" in a passage is plain characters
        )
        self.special_ids: Mapping[str, int] = {eos: self._tokenizer.token_to_id(eos)}
        self.eos_ids = tuple(self.special_ids.values())

    def encode(self, text: str) -> list[int]:
        """Encode text on its own, without special tokens."""
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def decode(self, ids: Sequence[int]) -> str:
        """Decode, special tokens included."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=False))


class WordSearcher:
    """Ranks the demo's passages by words shared with the query; ties keep their order."""

    async def search(self, queries: Sequence[str], top_k: int) -> list[list[Passage]]:
        """Give the best passages of each query, best first."""
        return [self._rank(query)[:top_k] for query in queries]

    def _rank(self, query: str) -> list[Passage]:
        words = _words(query)
        shared = [(len(words & _words(f"{p.title} {p.text}")), p) for p in PASSAGES]
        return [p for n_shared, p in sorted(shared, key=lambda pair: -pair[0]) if n_shared > 0]


class DeadSearcher:
    """A retriever that stays down."""

    async def search(self, queries: Sequence[str], top_k: int) -> list[list[Passage]]:
        """Fail as the real client does after its last retry."""
        raise RetrieverError("no answer from http://127.0.0.1:8000/retrieve after 3 tries")


@dataclass(frozen=True, slots=True)
class Scenario:
    """One scripted trajectory."""

    title: str
    question: str
    gold_answers: tuple[str, ...]
    script: tuple[str | ScriptedTurn, ...]
    limits: LoopConfig = field(default_factory=lambda: LoopConfig(max_response_tokens=1500))
    top_k: int = 2
    searcher: Searcher = field(default_factory=WordSearcher)


SCENARIOS = (
    Scenario(
        "a search, then the right answer",
        "who wrote the novel Dracula",
        ("Bram Stoker", "Abraham Stoker"),
        (
            "<think>I look it up.</think>\n<search>author of the novel Dracula</search>",
            "The first passage says it. <answer>Bram Stoker</answer>",
        ),
    ),
    Scenario(
        "an invalid turn, a nudge, an answer",
        "where was the author of Dracula born",
        ("Dublin", "Clontarf, Dublin"),
        (
            ScriptedTurn("It was somewhere in Ireland, I think.", has_eos=True),
            ScriptedTurn("<search>Bram Stoker born</search>", overrun=" and"),
            "<answer>Clontarf, Dublin</answer>",
        ),
    ),
    Scenario(
        "one search more than allowed",
        "which river flows through the birthplace of Bram Stoker",
        ("Liffey", "River Liffey"),
        (
            "<search>birthplace of Bram Stoker</search>",
            "<search>river through Dublin</search>",
        ),
        limits=LoopConfig(max_calls=1, max_response_tokens=1500),
        top_k=1,
    ),
    Scenario(
        "the retriever is down",
        "who wrote Frankenstein",
        ("Mary Shelley",),
        ("<search>author of Frankenstein</search>",),
        searcher=DeadSearcher(),
    ),
)


def find_codec() -> tuple[Codec, str]:
    """Take the quickstart model's tokenizer when it is there, else bytes; also says which."""
    path = artifacts_dir() / MODEL / "tokenizer.json"
    if path.is_file():
        return TokenizerFileCodec(path, "<|im_end|>"), f"the tokenizer of {MODEL.name}"
    return ByteCodec(), "bytes as tokens (./train.sh quickstart downloads a real tokenizer)"


async def play(scenario: Scenario, codec: Codec) -> Trajectory:
    """Run one scenario through the loop and score it."""
    loop = SearchLoop(
        ScriptedPolicy(scenario.script, codec),
        codec,
        SearchTagsParser(),
        ToolBox([SearchTool(scenario.searcher, scenario.top_k)]),
        scenario.limits,
    )
    prompt = "".join(message["content"] for message in build_prompt("search_r1", scenario.question))
    trajectory = await loop.run(
        codec.encode(prompt), question=scenario.question, gold_answers=scenario.gold_answers
    )
    trajectory.reward = score(trajectory, RewardConfig(em=1.0, format=0.1))
    return trajectory


def render(title: str, trajectory: Trajectory, codec: Codec, has_color: bool) -> str:
    """Write a trajectory turn by turn, the text taken from the ids and not from the record."""
    lines = [_paint(f"== {title} ==", "1", has_color)]
    lines += _block(
        "prompt", len(trajectory.prompt_ids), codec.decode(trajectory.prompt_ids), "2", has_color
    )
    for number, turn in enumerate(trajectory.turns, start=1):
        end = turn.start + turn.num_ids
        written = trajectory.response_ids[turn.start : end]
        given = trajectory.response_ids[end : end + turn.num_observation_ids]
        overrun = ", overrun" if turn.overrun else ""
        label = f"turn {number}, mask 1, ended by {turn.stop_reason.value}{overrun}"
        lines += _block(label, len(written), codec.decode(written), "32", has_color)
        if given:
            lines += _block(
                f"turn {number}, mask 0, observation",
                len(given),
                codec.decode(given),
                "2",
                has_color,
            )
    return "\n".join([*lines, *_summary(trajectory, has_color)])


def _summary(trajectory: Trajectory, has_color: bool) -> list[str]:
    assert trajectory.stop_reason is not None
    n_trained = sum(trajectory.response_mask)
    n_given = len(trajectory.response_ids) - n_trained
    n_exact = sum(_was_fed_as_recorded(trajectory, turn) for turn in trajectory.turns)
    parts = ", ".join(f"{name} {value:g}" for name, value in trajectory.reward.items())
    fate = (
        "masked out of learning" if trajectory.stop_reason.is_infrastructure else f"reward: {parts}"
    )
    return [
        _paint(f"stop reason: {trajectory.stop_reason.value}", "1;33", has_color),
        f"prediction: {trajectory.prediction!r}, gold: {' | '.join(trajectory.gold_answers)}",
        fate,
        f"tokens: {n_trained} with mask 1, {n_given} with mask 0; "
        f"the model was fed exactly the recorded ids in {n_exact} of {len(trajectory.turns)} turns",
        "",
    ]


def _was_fed_as_recorded(trajectory: Trajectory, turn: Turn) -> bool:
    recorded = trajectory.prompt_ids + trajectory.response_ids[: turn.start]
    return turn.context_digest == digest(recorded)


def _block(label: str, n_tokens: int, text: str, style: str, has_color: bool) -> list[str]:
    wrapped = [
        piece
        for line in text.strip("\n").splitlines()
        for piece in textwrap.wrap(line, 96, break_on_hyphens=False) or [""]
    ]
    return [
        f"[{label}, {n_tokens} tokens]",
        *(f"  {_paint(line, style, has_color)}" for line in wrapped),
    ]


def _paint(text: str, style: str, has_color: bool) -> str:
    return f"\033[{style}m{text}\033[0m" if has_color else text


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))


def main() -> None:
    """Play every scenario and print it."""
    has_color = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    codec, name = find_codec()
    print(f"search_r1.loop with a scripted model and {name}.")
    print(f"{_paint('mask 1', '32', has_color)}: the model wrote it and is trained on it. ", end="")
    print(f"{_paint('mask 0', '2', has_color)}: it was given.\n")
    for scenario in SCENARIOS:
        trajectory = asyncio.run(play(scenario, codec))
        print(render(scenario.title, trajectory, codec, has_color))


if __name__ == "__main__":
    main()
