"""A cross-encoder that reads query and passage together, over the best hits of any retriever."""

from pathlib import Path
from typing import Any

from retriever.encoders.encoder import count_cores
from retriever.errors import EncoderError
from retriever.types import Hit, Retriever, check_top_k

_BATCH = 32  # pairs read together, of like length


class RerankedRetriever:
    """The best hits of another retriever, ordered by a cross-encoder."""

    def __init__(
        self, inner: Retriever, folder: Path, depth: int, threads: int | None = None
    ) -> None:
        """Load the cross-encoder; nothing is downloaded.

        Args:
            inner: Finds what is reranked; closed with this one.
            folder: A sentence-transformers cross-encoder, or a Hugging Face model for sequence
                classification, with one label.
            depth: Hits of ``inner`` that are reranked, and the most that a query has. It does not
                follow ``top_k``: so the best 3 are the first of the best 5.
            threads: CPU threads of torch in this process; None uses every core.

        Raises:
            EncoderError: If the folder holds no such model.
            ValueError: If ``depth`` is below 1.
        """
        if depth < 1:
            raise ValueError(f"depth is {depth}; expected 1 or more hits to rerank.")
        self.kind = f"{inner.kind}+reranker"
        self.size = inner.size
        self.max_batch: int | None = getattr(inner, "max_batch", None)
        self._inner = inner
        self._depth = depth
        self._model = _load(folder, threads)

    def search(self, queries: list[str], top_k: int) -> list[list[Hit]]:
        """Return the best passages of every query by the cross-encoder's logit, best first."""
        check_top_k(top_k)
        found = self._inner.search(queries, self._depth)
        pairs = [
            (query, hit.passage.contents)
            for query, hits in zip(queries, found, strict=True)
            for hit in hits
        ]
        # Each pair once: equal texts get equal scores, whatever they are batched with.
        distinct = list(dict.fromkeys(pairs))
        score_of = dict(zip(distinct, self._score(distinct), strict=True))
        reranked = []
        for query, hits in zip(queries, found, strict=True):
            scored = [Hit(hit.passage, score_of[query, hit.passage.contents]) for hit in hits]
            scored.sort(key=lambda hit: (-hit.score, hit.passage.id))
            reranked.append(scored[:top_k])
        return reranked

    def _score(self, pairs: list[tuple[str, str]]) -> list[float]:
        """Return one logit per pair; the model sorts them by length."""
        if not pairs:
            return []
        scores: list[float] = self._model.predict(
            pairs, batch_size=_BATCH, show_progress_bar=False
        ).tolist()
        return scores

    def close(self) -> None:
        """Close the inner retriever."""
        self._inner.close()


def _load(folder: Path, threads: int | None) -> Any:
    if not (folder / "config.json").is_file():
        raise EncoderError(
            f"no cross-encoder at {folder} (config.json is missing); "
            "give the folder of one with --reranker."
        )
    import torch
    from sentence_transformers import CrossEncoder

    torch.set_num_threads(threads or count_cores())
    try:
        # Logits: a sigmoid would round the best ones to the same 1.0.
        model = CrossEncoder(
            str(folder), device="cpu", local_files_only=True, activation_fn=torch.nn.Identity()
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise EncoderError(f"the cross-encoder at {folder} cannot be loaded: {error}") from error
    if model.num_labels != 1:
        raise EncoderError(
            f"the model at {folder} has {model.num_labels} labels; expected 1, the relevance of a "
            "passage to a query."
        )
    return model
