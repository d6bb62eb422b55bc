"""After training: vectors whitened (2103.15316), or made Gaussian by a flow (BERT-flow, 2011.05864)."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from accelerate.utils import set_seed
from torch import Tensor, nn

from evaluation.report import Row
from modalities.text.flow import Flow, FlowConfig, vectors_collate
from modalities.text.rows import Rows
from modalities.text.sentence_encoder import SentenceEncoder, SentenceTask
from modalities.text.whitening import Whitening, add_whitening, as_layer, fit_whitening
from recipes.run import Run
from recipes.sentences_measure import Encode, Floats, Judged, measure
from recipes.sentences_tasks import Config, encoder_of
from trainers.loop import fit

_VECTORS = 8000  # of training texts
_FLOW_STEPS = 600


@dataclass(frozen=True)
class Post:
    """What comes behind the sentence encoder."""

    encode: Encode
    """Texts to vectors, both steps."""
    whitening: Whitening | None
    """What the published folder is to hold; a flow is no stock module and is saved beside it, in flow/."""


class Whitened(nn.Module):
    """What the folder with whitening computes."""

    def __init__(self, published: SentenceEncoder, whitening: Whitening) -> None:
        super().__init__()
        self.published, self.layer = published, as_layer(whitening)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        """input_ids and attention_mask (n, t) -> {"sentence_embedding": (n, k)}."""
        return {"sentence_embedding": self.layer(self.published(input_ids, attention_mask)["sentence_embedding"])}


def post_process(config: Config, task: SentenceTask, rows: Rows, identity: dict[str, Any], run: Run) -> Post | None:
    """Fit what `config.eval.post` names on the vectors of training texts; every process takes part."""
    if config.eval.post == "none":
        return None
    plain = encoder_of(task)
    places = np.linspace(0, len(rows) - 1, min(_VECTORS, len(rows))).astype(np.int64)
    vectors = plain([rows.texts[place][0] for place in places])  # (m, d)
    if config.eval.post == "whitening":
        whitening = fit_whitening(vectors, config.eval.dimensions)
        return Post(lambda texts: whitening(plain(texts)), whitening)
    set_seed(config.train.seed)
    processes = run.accelerator.num_processes
    size = min(config.train.batch_size, max(processes, len(vectors) // processes * processes))
    options = replace(
        config.train,
        out=run.out / "flow",
        steps=_FLOW_STEPS,
        batch_size=size,
        bucket_window=0,
        lr=1e-3,
        micro_batch=0,
        evaluate_every=0,
    )
    flow = fit(Flow(vectors, FlowConfig()), vectors, vectors_collate, options, identity=identity)
    if run.main:
        flow.save(run.out / "flow" / "model")

    def encode(texts: list[str]) -> Floats:
        given = torch.from_numpy(plain(texts)).to(run.accelerator.device)
        with torch.no_grad():
            found: Floats = flow.encode({"vectors": given}).cpu().numpy()
        return found

    return Post(encode, None)


def published(task: SentenceTask, post: Post | None, run: Run) -> nn.Module:
    """Save the model with its whitening, if any; returns the module that a reload must equal."""
    task.save(run.out / "model")
    if post is None or post.whitening is None:
        return task.published()
    add_whitening(run.out / "model", post.whitening)
    return Whitened(task.published(), post.whitening).to(run.accelerator.device)


def published_encode(task: SentenceTask, post: Post | None) -> Encode:
    """Texts to vectors as the published folder has them: a flow lies beside it."""
    return post.encode if post is not None and post.whitening is not None else encoder_of(task)


def compare(task: SentenceTask, post: Post | None, judged: Judged) -> tuple[Row, list[Row]]:
    """What is published, as "this run", and what it would be without whitening, or with a flow behind."""
    plain = dict(measure(encoder_of(task), judged))
    if post is None:
        return Row("this run", plain), []
    behind = dict(measure(post.encode, judged))
    if post.whitening is None:
        return Row("this run", plain), [Row("with a flow behind", behind)]
    return Row("this run", behind), [Row("without whitening", plain)]
