"""GISTEmbed: InfoNCE where a guide, another encoder, rules out negatives that it finds as near as the positive.

Solatorio, "GISTEmbed: Guided In-sample Selection of Training Negatives for Text Embedding Fine-tuning", 2024, eq. 2 to
5. https://arxiv.org/abs/2402.16829
"""

from collections.abc import Sequence
from dataclasses import KW_ONLY
from typing import Annotated

import torch
from torch import Tensor

from nearfar.errors import ConfigError
from nearfar.kernels import masked_logsumexp, row_scores
from nearfar.losses.core.batch import ShapeError, check_same_shape, integers, own_rows, part
from nearfar.losses.core.module import LossModule
from nearfar.losses.core.objective import objective
from nearfar.losses.core.reduction import reduce
from nearfar.losses.core.settings import Finite, Learned, MeanReduction, Word
from nearfar.losses.core.unit import unit

MarginStrategy = Annotated[str, Word(("absolute", "relative"))]


@objective
def gist_embed(
    anchors: Tensor,
    positives: Tensor,
    *,
    guide: Sequence[Tensor],
    negatives: Tensor | None = None,
    temperature: Learned = 0.01,
    margin_strategy: MarginStrategy = "absolute",
    margin: Finite = 0.0,
    contrast_anchors: bool = True,
    contrast_positives: bool = True,
    ids: Tensor | None = None,
    negative_ids: Tensor | None = None,
    rows: slice | None = None,
    reduction: MeanReduction = "mean",
    implementation: str = "auto",
) -> Tensor:
    """Mean over pairs i of the cross-entropy of the positive among all candidates that the guide does not rule out.

    Candidates are `a_i . p_j`, with contrast_anchors `a_i . a_j`, with contrast_positives `p_i . p_j` (both j != i),
    and `a_i . n_j`, all cosines / temperature. anchors, positives: [B, D]; negatives: [K, D], of all anchors. guide:
    the guide's embeddings of the same anchors, positives and, where given, negatives, of any width; without gradient.
    A candidate is ruled out where the guide's cosine of it is above that of the pair itself, less the margin
    ("absolute"), or times 1 - margin ("relative"); the pair itself never is.

    ids [B], integers: pairs of equal id are the same thing twice, and are no negatives of each other; negative_ids [K]
    do the same for `negatives`.

    rows: the pairs whose losses are summed; the mean still divides by B, so that shares of disjoint rows sum to the
    whole. reduction "none" gives [rows]. Memory is linear in B + K; `implementation` is "auto", "tiled" or "dense".
    Raises DataError for shapes that do not agree.
    """
    check_same_shape({"anchors": anchors, "positives": positives})
    named = {"anchors": anchors, "positives": positives} | ({} if negatives is None else {"negatives": negatives})
    if len(guide) != len(named) or any(len(g) != len(z) for g, z in zip(guide, named.values(), strict=True)):
        lengths = ", ".join(f"{name} {len(z)}" for name, z in named.items())
        raise ShapeError(f"guide must be embeddings of {lengths}, got {[list(g.shape) for g in guide]}.")
    if negatives is not None and (negatives.dim() != 2 or negatives.shape[1] != anchors.shape[1]):
        raise ShapeError(f"negatives must be [K, {anchors.shape[1]}], got shape {list(negatives.shape)}.")
    own = own_rows(rows, len(anchors))
    names = _names(ids, negative_ids, len(anchors), 0 if negatives is None else len(negatives), anchors.device)
    a, p, *n = (unit(z) for z in named.values())
    with torch.no_grad():
        ga, gp, *gn = (unit(g) for g in guide)
        own_cosine = (part(ga, own) * part(gp, own)).sum(1)
        limit = own_cosine - margin if margin_strategy == "absolute" else own_cosine * (1 - margin)
    pairs = [((a, p), (ga, gp))]
    if contrast_anchors:
        pairs.append(((a, a), (ga, ga)))
    if contrast_positives:
        pairs.append(((p, p), (gp, gp)))
    pairs += [((a, z), (ga, g)) for z, g in zip(n, gn, strict=True)]
    factor = torch.as_tensor(1 / temperature, dtype=a.dtype, device=a.device)
    positive = (part(a, own) * part(p, own)).sum(1) * factor
    sums = [positive]
    for k, ((x, y), (gx, gy)) in enumerate(pairs):
        guided, itself = part(gx, own), k < len(pairs) - len(n)
        columns = names[: len(a)] if itself else names[len(a) :]

        def score(similarities: Tensor, at: slice, scale: Tensor, gy: Tensor = gy, guided: Tensor = guided,
                  itself: bool = itself, columns: Tensor = columns) -> Tensor:  # fmt: skip
            with torch.no_grad():
                ruled_out = guided[at] @ gy.T > limit[at, None]
                ruled_out |= names[own][at, None] == columns
                if itself:  # the pair stands in the sum already, and nothing is compared with itself
                    ruled_out.diagonal(own.start + at.start).fill_(True)
            return masked_logsumexp((similarities * scale).masked_fill(ruled_out, -torch.inf), 1)

        sums.append(row_scores(score, part(x, own), y, factor, implementation=implementation))
    return reduce(torch.stack(sums).logsumexp(0) - positive, reduction, len(anchors))


def _names(ids: Tensor | None, negative_ids: Tensor | None, b: int, k: int, device: torch.device) -> Tensor:
    """Names of the B pairs and of the K negatives after them, equal for what is the same."""
    if negative_ids is not None and ids is None:
        raise ConfigError("negative_ids are compared with ids: give both.")
    if ids is None:
        return torch.arange(b + k, device=device)
    own = integers(ids, b).to(device)
    if negative_ids is None:
        return torch.cat([own, own.max() + 1 + torch.arange(k, device=device)])
    return torch.cat([own, integers(negative_ids, k, name="negative_ids").to(device)])


class GISTEmbedLoss(LossModule, of=gist_embed):
    """`gist_embed` as a module: `GISTEmbedLoss(temperature=0.01)(anchors, positives, guide=(ga, gp))`.

    The settings are those of sentence-transformers' loss of this name, which runs the guide itself.
    """

    temperature: Learned = 0.01
    margin_strategy: MarginStrategy = "absolute"
    margin: Finite = 0.0
    contrast_anchors: bool = True
    contrast_positives: bool = True
    _: KW_ONLY
    reduction: MeanReduction = "mean"
