"""What the methods that do not search put a question into; trained ones have ``search_r1.prompts``.

Each comes as an instruction, for models that follow one, and with worked examples, for models that
copy a pattern better.
"""

from __future__ import annotations

from dataclasses import dataclass

from search_r1.prompts import Message, finish_question

_ANSWER = (
    "Write the answer between <answer> and </answer>, short and without explanation, such as "
    "<answer>Paris</answer>."
)


@dataclass(frozen=True, slots=True)
class Shot:
    """A question worked out, with a passage and a line of reasoning."""

    question: str
    passage: str
    thought: str
    answer: str


_SHOTS = (
    Shot(
        "who wrote the novel Dracula?",
        "Doc 1(Title: Dracula) Dracula is an 1897 novel by Irish author Bram Stoker.",
        "Dracula is a Gothic novel of 1897. Its author was Bram Stoker.",
        "Bram Stoker",
    ),
    Shot(
        "which river flows through Paris?",
        "Doc 1(Title: Seine) The Seine is a French river that flows through Paris.",
        "Paris is the capital of France. It lies on the river Seine.",
        "Seine",
    ),
)


@dataclass(frozen=True, slots=True)
class Prompt:
    """How a question is put: an instruction, and whether passages and thoughts belong to it."""

    instruction: str
    is_reading: bool = False
    is_thinking: bool = False

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
        return f"{read}Question: {question}\n"

    def _answer(self, shot: Shot) -> str:
        thought = f"<think>{shot.thought}</think>\n" if self.is_thinking else ""
        return f"{thought}<answer>{shot.answer}</answer>"


DIRECT = Prompt("Answer the question.")
COT = Prompt(
    "Answer the question. Think first, step by step, between <think> and </think>.",
    is_thinking=True,
)
READ = Prompt("Answer the question with the help of the passages.", is_reading=True)
