"""An evaluation without an engine: a policy that does as its context says, a list of passages."""

import asyncio

import pytest

from data_prep.questions import Question
from data_prep.rows import make_rows, write_rows
from eval.answerers import Pass
from eval.evaluator import Evaluator, ModelSetup
from eval.methods import METHODS, decoding_named
from eval.tally import Tally
from search_r1.assembly import FormatConfig, assemble
from search_r1.errors import RetrieverUnavailable
from search_r1.loop import LoopConfig
from search_r1.policies.scripted import ScriptedPolicy
from search_r1.rewards import RewardConfig
from search_r1.runs.progress import ProgressFile
from search_r1.types import Passage
from tests.browser import open_browser

ANSWERS = {"who wrote Dracula?": "Bram Stoker", "what is the capital of France?": "Paris"}


@pytest.fixture(scope="session")
def browser():
    """One Chromium for all tests of a process."""
    with open_browser() as page:
        yield page


@pytest.fixture
def page(browser):
    """A page of usual size in light colours that remembers nothing of the test before."""
    browser.resize(1280)
    browser.prefer("light")
    browser.requests.clear()
    browser.errors.clear()
    yield browser
    assert browser.errors == []


class ObedientPolicy:
    """Goes on with what it was made to begin; else answers what it knows and searches the rest.

    Keeps the temperature of every trajectory it began, and can lose some: their engine gives up.
    """

    def __init__(self, codec):
        self._codec = codec
        self.temperatures = []
        self.seeds = []
        self.contexts = []
        self.lost = set()

    def at(self, temperature, seed):
        self.temperatures.append(temperature)
        self.seeds.append(seed)
        return self

    async def generate(self, context_ids, *, max_tokens, stop, stop_token_ids=()):
        context = self._codec.decode(context_ids)
        self.contexts.append(context)
        question = context.rpartition("Question: ")[2].partition("\n")[0]
        if question in self.lost:
            text = ""
        elif context.endswith("<answer>"):
            text = f"{ANSWERS.get(question, 'Dublin')}</answer>"
        elif context.endswith("Thought:"):
            answer = f" So the answer is: <answer>{ANSWERS.get(question)}</answer>"
            text = answer if question in ANSWERS else " Dracula is a novel.\n"
        elif context.endswith("<search>"):
            text = "Dracula</search>"
        elif question in ANSWERS or "<information>" in context:
            text = f"<answer>{ANSWERS.get(question, 'Bram Stoker')}</answer>"
        else:
            text = "<search>Dracula</search>"
        turn = ScriptedPolicy([text], self._codec)
        return await turn.generate(
            context_ids, max_tokens=max_tokens, stop=stop, stop_token_ids=stop_token_ids
        )


class Searcher:
    """Finds one passage for everything, after as many failures as it is given."""

    def __init__(self):
        self.queries, self.failures = [], 0

    async def search(self, queries, top_k):
        self.queries += queries
        if self.failures:
            self.failures -= 1
            raise RetrieverUnavailable("down")
        return [[Passage("1", "Dracula", "a novel by Bram Stoker")][:top_k] for _ in queries]


@pytest.fixture
def searcher():
    return Searcher()


@pytest.fixture
def parts_of(bpe_tokenizer, searcher):
    """Make a loop with these limits."""

    def make(parser="search_tags", **limits):
        config = LoopConfig(max_nudges=0, **limits)
        form = FormatConfig(prompt="bare", parser=parser, top_k=1)
        return assemble(bpe_tokenizer, (), form, config, searcher)

    return make


@pytest.fixture
def parts(parts_of):
    return parts_of()


@pytest.fixture
def rows():
    """Five questions, two of which the policy knows."""
    known = [
        Question(str(i), text, (gold,), "known") for i, (text, gold) in enumerate(ANSWERS.items())
    ]
    others = [
        Question(f"n{i}", f"who is number {i}?", ("Bram Stoker",), "unknown") for i in range(3)
    ]
    return make_rows([("facts", question) for question in (*known, *others)], "test", "bare")


@pytest.fixture
def question_file(rows, tmp_path):
    write_rows(rows, tmp_path / "test.parquet")
    return tmp_path / "test.parquet"


@pytest.fixture
def policy(parts):
    return ObedientPolicy(parts.codec)


@pytest.fixture
def evaluator_of(parts, parts_of, policy, searcher, tmp_path):
    """Make an evaluator that tells of so many trajectories."""

    def make(total=0, prompt="bare", with_examples=False):
        tally = Tally(total, ProgressFile(tmp_path / "run", "evaluate"))
        asking = ModelSetup(
            name="tiny",
            parts=parts,
            prompted={"": parts_of(max_calls=0), "sentences": parts_of("sentences")},
            policy_at=policy.at,
            retriever=searcher,
            rewards=RewardConfig(searches=-0.25),
            prompt=prompt,
            with_examples=with_examples,
        )
        return Evaluator(asking, tally)

    return make


@pytest.fixture
def pass_of(tmp_path):
    """Make a pass of a method and a decoding, into this test's folder."""

    def make(method="search", decoding="greedy"):
        path = tmp_path / f"tiny.{method}.{decoding}.jsonl"
        return Pass(METHODS[method], decoding_named(decoding), path)

    return make


@pytest.fixture
def run(evaluator_of, rows):
    """Carry out passes over the rows."""

    def run(*passes):
        missing = sum(len(one.missing(rows)) for one in passes)
        evaluator = evaluator_of(missing)
        for one in passes:
            asyncio.run(evaluator.run(one, rows))

    return run
