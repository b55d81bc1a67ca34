"""Miners: which pairs and triplets of a batch are worth a loss, as index tuples, found a block of anchors at a time.

Anchors are indices into z, positives and negatives indices into the reference, if there is one, else into z. labels,
reference and offset are those of `losses/core/labelled.py`. Gradients do not pass: the losses take the tuples
(`labelled_triplet(z, triplets=...)`, `multi_similarity(z, pairs=...)`) and compare again.
"""

from nearfar.losses.mining.distance_weighted import distance_weighted_triplets
from nearfar.losses.mining.multi_similarity import multi_similarity_pairs
from nearfar.losses.mining.triplets import hardest_triplets, margin_triplets

__all__ = ["distance_weighted_triplets", "hardest_triplets", "margin_triplets", "multi_similarity_pairs"]
