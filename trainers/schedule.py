"""Learning rate and weight decay as pure functions of the step, so that they resume without any state."""

import math

from trainers.config import TrainConfig


def learning_rate(cfg: TrainConfig, step: int, total: int) -> float:
    """Learning rate of update `step` (counted from 0) out of `total`.

    The first round(warmup * total) updates rise linearly up to the peak; the rest follow `cfg.schedule` (SGDR's cosine
    without restarts, arXiv 1608.03983) towards final_lr * lr, which would be that of update `total`.
    """
    assert 0 <= step < total
    rising = round(cfg.warmup * total)
    if step < rising:
        return cfg.lr * (step + 1) / rising
    done = (step - rising) / (total - rising)  # 0 at the peak, 1 after the last update
    match cfg.schedule:
        case "constant":
            return cfg.lr
        case "linear":
            height = 1.0 - done
        case "cosine":
            height = (1.0 + math.cos(math.pi * done)) / 2
    return cfg.lr * (cfg.final_lr + (1.0 - cfg.final_lr) * height)


def weight_decay(cfg: TrainConfig, step: int, total: int) -> float:
    """Weight decay of update `step` (counted from 0) out of `total`: from weight_decay to final_weight_decay along half
    a cosine, as in DINO (2104.14294); what would be reached is that of update `total`."""
    assert 0 <= step < total
    if cfg.final_weight_decay is None:
        return cfg.weight_decay
    risen = (1.0 - math.cos(math.pi * step / total)) / 2  # 0 at first
    return cfg.weight_decay + (cfg.final_weight_decay - cfg.weight_decay) * risen
