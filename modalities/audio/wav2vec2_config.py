"""Options of wav2vec 2.0 (arXiv 2006.11477)."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Wav2Vec2Config:
    """What is hidden, and among what the hidden is to be found; the paper's numbers but for the codebook and tau."""

    start: float = 0.065
    """Share of the frames that begin a hidden span."""
    span: int = 10
    """Frames of a span; spans may overlap, so that about half of all frames are hidden."""
    least: int = 2
    """Spans that a recording has at least."""
    negatives: int = 100
    """Other hidden frames of the recording among which each one has to be found, drawn with repeats."""
    temperature: float = 0.1
    """Divides the cosines."""
    groups: int = 2
    """Groups of codes; a target is one code of each."""
    codes: int = 64
    """Codes of a group; 320 in the paper."""
    code_width: int = 64
    """Width of the codes of all groups together; 256 (base) and 768 (large) in the paper."""
    target_width: int = 64
    """Width in which contexts and targets are compared; 256 (base) and 768 (large) in the paper."""
    diversity: float = 0.1
    """Weight of the loss that has all codes used."""
    penalty: float = 10.0
    """Weight of the mean square of the conv features."""
    feature_gradient: float = 0.1
    """Factor on the gradient that reaches the convolutions."""
    tau: float = 2.0
    """Temperature of the Gumbel-softmax at first."""
    tau_end: float = 0.5
    """Its lowest value."""
    tau_decay: float = 0.999
    """Its factor of each update; 0.999995 in the paper, whose base model learns for 400,000 updates."""
    least_codes: float = 2.0
    """Codes of a group in effect, on average, below which the codebook counts as collapsed."""
    continuous: int = 0
    """Updates at first whose targets are not codes but linear maps of the conv features (continuous targets, as in the
    paper's Table 4): new convolutions are learnt from these within minutes, from codes of their noise they are not."""
    patience: int = 200
    """Updates in a row with a collapsed codebook after which the run ends; 0 lets it go on."""

    def __post_init__(self) -> None:
        for name in ("span", "least", "negatives", "groups", "codes", "code_width", "target_width"):
            if getattr(self, name) < 1:
                raise ValueError(f"task.{name} is {getattr(self, name)}; it must be at least 1.")
        for name in ("diversity", "penalty", "feature_gradient", "continuous", "patience"):
            if getattr(self, name) < 0:
                raise ValueError(f"task.{name} is {getattr(self, name)}; it must not be negative.")
        for name in ("temperature", "tau", "tau_end"):
            if getattr(self, name) <= 0:
                raise ValueError(f"task.{name} is {getattr(self, name)}; it must be above 0.")
        for name in ("start", "tau_decay"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"task.{name} is {getattr(self, name)}; it must be above 0 and at most 1.")
        if self.code_width % self.groups:
            raise ValueError(f"task.code_width {self.code_width} is not a multiple of task.groups {self.groups}.")


PAPER = Wav2Vec2Config(codes=320, code_width=256, target_width=256, tau_decay=0.999995)
"""The paper's base model."""
