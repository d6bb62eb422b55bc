"""How much clusters of frames know of phones: the measures of HuBERT (Hsu et al. 2021, arXiv 2106.07447)."""

import numpy as np
from numpy.typing import ArrayLike

from evaluation.arrays import column


def cluster_quality(clusters: ArrayLike, phones: ArrayLike) -> dict[str, float]:
    """Return {"phone_purity", "cluster_purity", "pnmi"} of frames that were clustered without looking at phones.

    clusters (n,), phones (n,). Phone purity is the accuracy when every cluster stands for its most frequent phone;
    it rises with the number of clusters, up to 1. Cluster purity is how often a phone falls into its most
    frequent cluster; it falls with that number. PNMI, the mutual information of the two divided by the entropy of the
    phones, is the share of the uncertainty about a phone that its cluster takes away.
    Raises ValueError when there are no frames, the lengths differ, or all phones are one.
    """
    found = np.asarray(clusters)
    if found.ndim != 1 or len(found) == 0:
        raise ValueError(f"clusters: shape {found.shape} holds no frames to judge; pass one cluster per frame.")
    names, phone = np.unique(column(phones, len(found), "phones"), return_inverse=True)
    if len(names) == 1:
        raise ValueError(f"phones: all frames are {names[0]}; the quality of clusters needs two phones or more.")
    used, cluster = np.unique(found, return_inverse=True)
    joint = np.zeros((len(names), len(used)))  # (phones, clusters)
    np.add.at(joint, (phone, cluster), 1 / len(found))
    of_phone, of_cluster = joint.sum(axis=1), joint.sum(axis=0)
    both = joint > 0
    information = joint[both] @ np.log((joint / np.outer(of_phone, of_cluster))[both])
    return {
        "phone_purity": float(joint.max(axis=0).sum()),
        "cluster_purity": float(joint.max(axis=1).sum()),
        "pnmi": float(information / -(of_phone @ np.log(of_phone))),
    }
