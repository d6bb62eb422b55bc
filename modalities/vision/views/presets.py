"""Views as the papers of the joint-embedding methods make them. Sigma of the blur stays in pixels whatever the side."""

from dataclasses import replace

from modalities.vision.views.pipeline import ViewConfig


def simclr(side: int, strength: float = 1.0) -> ViewConfig:
    """SimCLR (2002.05709): colours change by `strength`, 1 for ImageNet, 0.5 for CIFAR."""
    return ViewConfig(
        side=side,
        min_area=0.08,
        jitter=0.8,
        brightness=0.8 * strength,
        contrast=0.8 * strength,
        saturation=0.8 * strength,
        hue=0.2 * strength,
        grey=0.2,
        blur=0.5,
    )


def moco(side: int) -> ViewConfig:
    """MoCo v1 (1911.05722): strong colours and no blur. v2 takes `simclr` at half strength."""
    return ViewConfig(
        side=side, min_area=0.2, jitter=1.0, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.4, grey=0.2
    )


def byol(side: int) -> tuple[ViewConfig, ViewConfig]:
    """BYOL (2006.07733): the first view is always blurred, the second seldom, but sometimes solarised."""
    first = replace(simclr(side, 0.5), saturation=0.2, blur=1.0)
    return first, replace(first, blur=0.1, solarise=0.2)


def dino(side: int, local_side: int) -> tuple[ViewConfig, ViewConfig, ViewConfig]:
    """DINO (2104.14294): two large views as BYOL's of at least 0.4 of the image, and one of the small ones."""
    first, second = (replace(view, min_area=0.4) for view in byol(side))
    return first, second, replace(first, side=local_side, min_area=0.05, max_area=0.4, blur=0.5)
