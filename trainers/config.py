"""How a run is trained: the options that every recipe shares."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

# Options that change where a run writes, what it shows or how fast it goes, but never a weight. A run may be
# resumed with other values of these.
_WITHOUT_EFFECT = frozenset(
    {"out", "shard", "workers", "log_every", "save_every", "keep", "evaluate_every", "tracker", "timeout", "resume"}
)


@dataclass(frozen=True)
class TrainConfig:
    """Optimisation, precision, checkpoints and logging."""

    out: Path = Path("runs/unseen")
    """Output folder. The same command resumes the run it finds there."""
    batch_size: int = 256
    """Rows per optimizer step over all processes together."""
    micro_batch: int = 0
    """Rows per forward pass and process; 0 takes the whole share of the process. Smaller values save memory: losses
    that compare rows are cached (exact, same negatives), others accumulate."""
    epochs: float = 10.0
    """Passes over the data; ignored when steps is given."""
    steps: int = 0
    """Optimizer steps; needed for streams, whose length is not known."""
    optimizer: Literal["adamw", "lars"] = "adamw"
    """adamw (fused) or lars (with momentum, for very large batches)."""
    lr: float = 1e-3
    """Peak learning rate."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """Shape of the learning rate after the warm-up."""
    warmup: float = 0.1
    """Share of all steps in which the learning rate rises linearly from zero."""
    final_lr: float = 0.0
    """Learning rate at the end, as a share of the peak (cosine and linear)."""
    weight_decay: float = 0.1
    """Decoupled weight decay of matrices and kernels; vectors, biases and scalars are never decayed."""
    final_weight_decay: float | None = None
    """Weight decay at the end, reached along a cosine (DINO raises it from 0.04 to 0.4); None keeps it as it is."""
    beta2: float = 0.98
    """AdamW's second-moment decay (CLIP uses 0.98)."""
    momentum: float = 0.9
    """AdamW's beta1, or LARS' momentum."""
    clip_norm: float = 1.0
    """Largest norm of the whole gradient; 0 does not clip."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """auto takes bf16 where the GPU has it and fp32 elsewhere."""
    compile: bool = False
    """Compile the parts of the task (encoder, heads) with torch.compile: a minute or so at the start, and faster steps
    on GPUs. Results differ by rounding. What is saved is the same as without."""
    shard: bool = False
    """Split weights, gradients and optimizer state over the processes (FSDP2), for models too large for one GPU."""
    seed: int = 0
    """Fixes initial weights, order, views and dropout."""
    workers: int = 0
    """Loader processes per training process; 0 loads in the training process. Rows and views do not depend on it."""
    lanes: int = 1
    """Streams only: independent sub-streams, split by shard where possible. A multiple of the number of processes
    lets each read only its own; the rows of a step depend on lanes, not on the number of processes."""
    shuffle_window: int = 4096
    """Streams only: rows of a lane that are shuffled together."""
    bucket_window: int = 0
    """Batches whose rows are sorted by length together, so that those of one batch need little padding; 64, say. For
    data that knows its `lengths` and is not streamed, others are refused; 0 takes rows as they come."""
    log_every: int = 10
    """Steps between lines in metrics.jsonl."""
    evaluate_every: int = 0
    """Steps between evaluations while training; 0 makes none."""
    save_every: int = 100
    """Steps between checkpoints; the last step is always saved."""
    keep: int = 2
    """Checkpoints kept, newest first."""
    resume: Literal["auto", "anyway", "never"] = "auto"
    """auto goes on from the newest whole checkpoint in out and refuses if options or data have changed; anyway goes
    on nevertheless; never refuses a folder that holds checkpoints."""
    max_bad_steps: int = 10
    """Steps in a row with a loss or gradient that is not finite, after which the run stops. Each one is skipped."""
    tracker: str = "tensorboard"
    """Trackers that Accelerate knows, separated by commas, or none. metrics.jsonl is always written."""
    timeout: float = 600.0
    """Seconds that a process waits for another one before the run ends with an error."""

    def __post_init__(self) -> None:
        for name in ("batch_size", "keep", "lanes", "shuffle_window", "log_every", "max_bad_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"train.{name} is {getattr(self, name)}; it must be at least 1.")
        for name in ("micro_batch", "steps", "workers", "evaluate_every", "save_every", "lr", "clip_norm", "seed",
                     "bucket_window"):  # fmt: skip
            if getattr(self, name) < 0:
                raise ValueError(f"train.{name} is {getattr(self, name)}; it must not be negative.")
        if not 0 <= self.warmup <= 1:
            raise ValueError(f"train.warmup is {self.warmup}; it is a share of all steps, between 0 and 1.")
        if self.final_weight_decay is not None and self.final_weight_decay < 0:
            raise ValueError(f"train.final_weight_decay is {self.final_weight_decay}; it must not be negative.")
        if self.compile and self.shard:
            raise ValueError("train.compile and train.shard cannot both be set; leave train.compile out.")
        if self.steps == 0 and self.epochs <= 0:
            raise ValueError(f"train.epochs is {self.epochs} and train.steps is 0: nothing would be trained.")

    def share(self, world_size: int) -> int:
        """Rows of a global batch that one process handles.

        Raises:
            ValueError: when the batch does not divide among processes, or the share into micro-batches.
        """
        share, rest = divmod(self.batch_size, world_size)
        if rest or share == 0:
            raise ValueError(
                f"train.batch_size {self.batch_size} does not divide among {world_size} processes; "
                f"{max(share, 1) * world_size} and {(share + 1) * world_size} do."
            )
        if self.micro_batch and share % self.micro_batch:
            raise ValueError(
                f"train.micro_batch {self.micro_batch} does not divide the {share} rows that each of {world_size} "
                f"processes takes of train.batch_size {self.batch_size}."
            )
        return share

    def identity(self) -> dict[str, Any]:
        """The options that decide the weights: a checkpoint is resumed only under equal ones."""
        return {name: value for name, value in asdict(self).items() if name not in _WITHOUT_EFFECT}
