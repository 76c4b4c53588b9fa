"""What untrained methods put a question into; trained models have ``search_r1.prompts``.

Each comes as an instruction, for models that follow one, and with worked examples, for models that
copy a pattern better.
"""

from __future__ import annotations

from dataclasses import dataclass

from search_r1.parsers.formats.sentences import THOUGHT, SentencesParser
from search_r1.prompts import Message, finish_question

_ANSWER = (
    "Write the answer between <answer> and </answer>, short and without explanation, such as "
    "<answer>Paris</answer>."
)


@dataclass(frozen=True, slots=True)
class Shot:
    """A question worked out, with what the question finds and what its first thought finds."""

    question: str
    passage: str
    thoughts: tuple[str, str]
    second_passage: str
    answer: str


_SHOTS = (
    Shot(
        "who wrote the novel Dracula?",
        "Doc 1(Title: Dracula) Dracula is an 1897 novel by Irish author Bram Stoker.",
        ("Dracula is a Gothic novel of 1897.", "Its author was Bram Stoker."),
        "Doc 1(Title: Bram Stoker) Bram Stoker was an Irish author.",
        "Bram Stoker",
    ),
    Shot(
        "which river flows through Paris?",
        "Doc 1(Title: Seine) The Seine is a French river that flows through Paris.",
        ("Paris is the capital of France.", "It lies on the river Seine."),
        "Doc 1(Title: Paris) Paris lies on the Seine, in northern France.",
        "Seine",
    ),
)


@dataclass(frozen=True, slots=True)
class Prompt:
    """How a question is put: an instruction, and whether passages and thoughts belong to it."""

    instruction: str
    is_reading: bool = False
    is_thinking: bool = False
    is_interleaved: bool = False
    """Thoughts are lines, and passages stand between them."""

    def build(self, question: str, passages: str, with_examples: bool) -> list[Message]:
        """Give the messages for a question.

        Args:
            question: White space is collapsed, and a missing question mark is added.
            passages: What was found, numbered; not used by prompts that do not read.
            with_examples: Two worked examples instead of the instruction.
        """
        asked = self._ask(finish_question(question), passages)
        if with_examples:
            worked = [
                self._ask(shot.question, shot.passage) + self._answer(shot) for shot in _SHOTS
            ]
            return [{"role": "user", "content": "\n\n".join([*worked, asked])}]
        return [{"role": "user", "content": f"{self.instruction} {_ANSWER}\n\n{asked}"}]

    def _ask(self, question: str, passages: str) -> str:
        read = f"<information>{passages}</information>\n" if self.is_reading else ""
        return f"{read}Question: {question}\n{THOUGHT if self.is_interleaved else ''}"

    def _answer(self, shot: Shot) -> str:
        answer = f"<answer>{shot.answer}</answer>"
        if self.is_interleaved:
            found = SentencesParser().format_results([shot.second_passage])
            return f" {shot.thoughts[0]}\n{found} {shot.thoughts[1]} {CONCLUSION}{answer}"
        thought = f"<think>{' '.join(shot.thoughts)}</think>\n" if self.is_thinking else ""
        return f"{thought}{answer}"


DIRECT = Prompt("Answer the question.")
COT = Prompt(
    "Answer the question. Think first, step by step, between <think> and </think>.",
    is_thinking=True,
)
CONCLUSION = "So the answer is: "
IRCOT = Prompt(
    "Answer the question. Think one short sentence a line; the passages that each line finds come "
    f"between <information> and </information> below it. End with a line {CONCLUSION!r}.",
    is_reading=True,
    is_interleaved=True,
)
READ = Prompt("Answer the question with the help of the passages.", is_reading=True)
