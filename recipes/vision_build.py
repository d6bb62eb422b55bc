"""Encoders with new weights."""

from transformers import PreTrainedModel


def forget(encoder: PreTrainedModel) -> None:
    """Draw its weights anew; those that no training would move, such as fixed positions, stay."""
    new = type(encoder)(encoder.config)
    fixed = {name for name, weight in new.named_parameters() if not weight.requires_grad}
    drawn, kept = new.state_dict(), encoder.state_dict()
    encoder.load_state_dict({name: value if name in fixed else drawn[name] for name, value in kept.items()})
