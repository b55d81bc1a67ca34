"""All losses as one call, `LOSSES[name].call(z, tags, **options)`: what holds for every loss is tested on this table.

z are four embeddings [b, d] (d even) and tags [b] the classes of the samples, -1 for none.
"""

import inspect
from collections.abc import Callable
from typing import NamedTuple

import torch

from nearfar import losses as L
from nearfar.losses.core.settings import Number, rules_of


class Loss(NamedTuple):
    function: Callable[..., torch.Tensor]
    call: Callable[..., torch.Tensor]
    inputs: int = 2  # how many of z it takes
    lengths: bool = True  # whether the lengths of embeddings do not matter
    numeric: bool = True  # whether the gradient is that of the value: no weight or target is held constant
    order: bool = True  # whether samples may change places
    least: int = 1  # samples

    def takes(self, option):
        return option in inspect.signature(self.function).parameters

    def ways(self):
        """The forms of its computation, as options."""
        return [{"implementation": how} for how in ("dense", "tiled")] if self.takes("implementation") else [{}]

    def learned(self):
        """Its settings that may be learned."""
        rules = rules_of(self.function).items()
        return [name for name, rule in rules if isinstance(rule, Number) and rule.learned]

    def reductions(self):
        rule = rules_of(self.function).get("reduction")
        return () if rule is None else rule.words


def views(function, inputs=2, **settings):
    fields = {k: settings.pop(k) for k in ("lengths", "numeric", "order", "least") if k in settings}
    return Loss(function, lambda z, tags, **o: function(*z[:inputs], **settings, **o), inputs, **fields)


def labelled(function, **settings):
    numeric = settings.pop("numeric", True)
    return Loss(function, lambda z, tags, **o: function(z[0], labels=tags, **settings, **o), 1, numeric=numeric)


def referenced(function, **settings):
    return Loss(
        function,
        lambda z, tags, **o: function(
            z[0], labels=tags, reference=torch.cat([z[1], z[0]]), reference_labels=torch.cat([tags, tags]),
            offset=len(tags), **settings, **o,
        ),
    )  # fmt: skip


def of_classes(function, **settings):
    return Loss(
        function,
        lambda z, tags, **o: function(z[0], z[1][:5], labels=tags.clamp(min=0) % len(z[1][:5]), **settings, **o),
        order=False,
    )


def scaled(function, **settings):
    """With moderate settings where the defaults leave no digit to compare."""
    return lambda z, tags, **o: function(z[0], z[1], **(settings | o))


def pair_mask(tags):
    return (tags[:, None] == tags) & (tags[:, None] >= 0)


def patches(z, tags, **options):
    mask = torch.zeros(2, len(tags), 2, dtype=torch.bool, device=tags.device)
    mask[0, : len(tags) // 2, 0] = True
    mask[1, : len(tags) - len(tags) // 2, 1] = True
    return L.ibot_patch(z[0], z[1], mask=mask, center=center_of(z), **options)


def center_of(z):
    return torch.full(z[0].shape[-1:], 0.1, dtype=z[0].dtype, device=z[0].device)


def directions_of(z):
    angles = torch.arange(3.0 * z.shape[-1], dtype=torch.float64).view(-1, 3)
    return torch.nn.functional.normalize(angles.sin(), dim=0).to(z.device)


LOSSES = {
    "nt_xent": views(L.nt_xent),
    "nt_xent-3": views(L.nt_xent, inputs=3),
    "direct_clr": views(L.direct_clr, dims=3),
    "info_nce": views(L.info_nce),
    "info_nce-symmetric": views(L.info_nce, symmetric=True),
    "info_nce-negatives": Loss(
        L.info_nce, lambda z, tags, **o: L.info_nce(*z[:2], negatives=z[2], symmetric=True, **o), 3
    ),
    "gist_embed": Loss(
        L.gist_embed,
        lambda z, tags, **o: L.gist_embed(
            *z[:2], negatives=z[2], guide=[z[3], z[2], z[1]], **({"temperature": 0.2} | o)
        ),
        4, numeric=False,
    ),
    "contrastive_cross_entropy": Loss(
        L.contrastive_cross_entropy,
        lambda z, tags, **o: L.contrastive_cross_entropy(z[0], z[1], torch.stack(z[2:], 1), **o), 4,
    ),
    "contrastive_cross_entropy-valid": Loss(
        L.contrastive_cross_entropy,
        lambda z, tags, **o: L.contrastive_cross_entropy(
            z[0], z[1], torch.stack([z[2], z[0].detach() * torch.nan], 1), **o,
            valid=torch.tensor([True, False]).expand(len(tags), 2),
        ), 3,
    ),
    "clip": Loss(L.clip, scaled(L.clip, scale=10.0)),
    "siglip": views(L.siglip),
    "dcl": views(L.dcl),
    "dclw": views(L.dclw, numeric=False),
    "debiased": views(L.debiased),
    "hcl": views(L.hcl, beta=0.7),
    "hardest_negative": views(L.hardest_negative),
    "weighted_negatives": views(L.weighted_negatives, numeric=False),
    "seed_distill": views(L.seed_distill, numeric=False),
    "moco": views(L.moco, inputs=3, numeric=False),
    "nnclr": Loss(L.nnclr, lambda z, tags, **o: L.nnclr(z[:2], z[2:], z[3].flip(0), **o), 4, numeric=False),
    "sup_con-out": labelled(L.sup_con),
    "sup_con-in": labelled(L.sup_con, variant="in"),
    "labelled_nt_xent": labelled(L.labelled_nt_xent),
    "labelled_nt_xent-anchors": labelled(L.labelled_nt_xent, average="anchors"),
    "labelled_nt_xent-referenced": referenced(L.labelled_nt_xent),
    **{
        f"multi_positive-{variant}-{kind}": Loss(
            L.multi_positive, lambda z, tags, v=variant, given=given, **o: L.multi_positive(*z[:2], variant=v,
                                                                                           **given(tags), **o)
        )
        for variant in ("out", "in")
        for kind, given in (("groups", lambda t: {"groups": (t, t)}), ("mask", lambda t: {"mask": pair_mask(t)}))
    },
    "labelled_contrastive": labelled(L.labelled_contrastive),
    "labelled_contrastive-plain": labelled(L.labelled_contrastive, squared=False, positive_margin=0.2),
    "labelled_contrastive-cosine": labelled(L.labelled_contrastive, distance="cosine", margin=0.9),
    "labelled_contrastive-referenced": referenced(L.labelled_contrastive),
    "labelled_triplet": labelled(L.labelled_triplet),
    "labelled_triplet-squared": labelled(L.labelled_triplet, distance="squared_euclidean"),
    "labelled_triplet-hard": labelled(L.labelled_triplet, mining="hard"),
    "labelled_triplet-hard-soft": labelled(L.labelled_triplet, mining="hard", margin=None, distance="cosine"),
    "labelled_triplet-semi_hard": labelled(L.labelled_triplet, mining="semi_hard"),
    "labelled_triplet-referenced": referenced(L.labelled_triplet),
    "circle": labelled(L.circle, gamma=16.0, numeric=False),
    "multi_similarity": labelled(L.multi_similarity),
    "multi_similarity-referenced": referenced(L.multi_similarity),
    "arc_face": of_classes(L.arc_face),
    "cos_face": of_classes(L.cos_face),
    "proxy_nca": of_classes(L.proxy_nca),
    "proxy_anchor": of_classes(L.proxy_anchor),
    "contrastive": Loss(L.contrastive, lambda z, tags, **o: L.contrastive(*z[:2], similar=tags % 2 == 0, **o)),
    "contrastive-raw": Loss(
        L.contrastive,
        lambda z, tags, **o: L.contrastive(*z[:2], similar=tags % 2 == 0, normalize=False, margin=4.0, **o),
        lengths=False,
    ),
    "triplet": views(L.triplet, inputs=3),
    "triplet-raw": views(L.triplet, inputs=3, normalize=False, distance="squared_euclidean", lengths=False),
    "triplet-soft": views(L.triplet, inputs=3, margin=None),
    "n_pair": views(L.n_pair, lengths=False),
    "bpr": views(L.bpr, inputs=3, lengths=False),
    "bpr-many": Loss(
        L.bpr, lambda z, tags, **o: L.bpr(z[0], z[1], torch.stack(z[2:], z[2].dim() - 1), **o), 4, lengths=False
    ),
    "alignment": views(L.alignment),
    "alignment-1.5": views(L.alignment, alpha=1.5),
    "uniformity": views(L.uniformity, inputs=1, least=2),
    "koleo": views(L.koleo, inputs=1, least=2),
    "negative_cosine": views(L.negative_cosine, numeric=False),
    "simsiam": Loss(L.simsiam, lambda z, tags, **o: L.simsiam(z[:2], z[2:], **o), 4, numeric=False),
    "byol": Loss(L.byol, lambda z, tags, **o: L.byol(z[:2], z[2:], **o), 4, numeric=False),
    "barlow_twins": views(L.barlow_twins, lengths=False, least=2),
    "vicreg": views(L.vicreg, lengths=False, least=2),
    "tico": Loss(
        L.tico,
        lambda z, tags, **o: L.tico(*z[:2], covariance=L.tico_covariance(None, z[0].detach(), beta=0.2), **o),
        numeric=False, least=2,
    ),
    "emp_ssl": Loss(L.emp_ssl, lambda z, tags, **o: L.emp_ssl(z[:3], **o), 3, lengths=False),
    "mmcr": Loss(L.mmcr, lambda z, tags, **o: L.mmcr(torch.stack(z, 1), **({"weight": 0.1} | o)), 4),
    "sigreg": Loss(
        L.sigreg, lambda z, tags, **o: L.sigreg(z[0], directions=directions_of(z[0]), **o), 1, lengths=False
    ),
    "lejepa": Loss(
        L.lejepa,
        lambda z, tags, **o: L.lejepa(torch.stack(z[:2]), torch.stack(z[2:]), directions=directions_of(z[0]), **o),
        4, lengths=False,
    ),
    "cosent": Loss(L.cosent, lambda z, tags, **o: L.cosent(*z[:2], scores=tags, **o)),
    "pearson": Loss(L.pearson, lambda z, tags, **o: L.pearson(*z[:2], scores=tags, **o)),
    "angle": Loss(L.angle, lambda z, tags, **o: L.angle(*z[:2], scores=tags, **o)),
    "swav": Loss(L.swav, lambda z, tags, **o: L.swav(z[:2], z[2:], **o), 4, lengths=False, numeric=False),
    "dino": Loss(
        L.dino, lambda z, tags, **o: L.dino(z[:2], z[2:], center=center_of(z), **o), 4,
        lengths=False, numeric=False,
    ),
    "ibot_patch": Loss(L.ibot_patch, patches, lengths=False, numeric=False, order=False, least=2),
    "msn": Loss(
        L.msn, lambda z, tags, **o: L.msn(torch.cat(z[:2]), z[2], z[3][:5], **o), 4, numeric=False, order=False
    ),
}  # fmt: skip
TILED = [name for name, loss in LOSSES.items() if loss.takes("implementation")]
LENGTHS = [name for name, loss in LOSSES.items() if loss.lengths]

SETTING = {"temperature": 0.3, "scale": 3.0, "bias": -0.5}


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def embeddings(b, d=4, *, seed=0, dtype=torch.float64):
    return [normal(b, d, seed=seed + 100 * k, dtype=dtype).requires_grad_() for k in range(4)]


def tags_of(b):
    """Classes of two, three, four ... samples; every fifth sample has none."""
    tags = torch.arange(b) * 3 // 10 % 4
    tags[4::5] = -1
    return tags


def gradients(loss, leaves):
    """The gradients of the sum of the loss, 0 where there is none."""
    if not loss.requires_grad:
        return [torch.zeros_like(x) for x in leaves]
    found = torch.autograd.grad(loss.sum(), leaves, allow_unused=True)
    return [torch.zeros_like(x) if g is None else g for g, x in zip(found, leaves, strict=True)]


def outcome(name, z, tags, **options):
    """The loss, and its gradients for all embeddings and for the settings that are tensors with a gradient."""
    learned = [x for x in options.values() if isinstance(x, torch.Tensor) and x.requires_grad]
    loss = LOSSES[name].call(z, tags, **options)
    return [loss.detach(), *gradients(loss, [*z, *learned])]


def learned_settings(name, shape=(), dtype=torch.float64):
    """Each setting of the loss that may be learned, as a tensor."""
    return {key: torch.full(shape, SETTING[key], dtype=dtype).requires_grad_() for key in LOSSES[name].learned()}
