"""Siamese, triplet and InfoNCE as methods: their losses on views and on classes, and their settings."""

import pytest
import torch
from torch.nn.functional import normalize

from nearfar.contract import Batch, Latents, Requirements
from nearfar.errors import ConfigError
from nearfar.losses import hardest_negative, info_nce
from nearfar.methods.infonce import InfoNCE, InfoNCEOptions
from nearfar.methods.siamese import Siamese, SiameseOptions
from nearfar.methods.triplet import Triplet, TripletOptions
from tests.methods.toys import Toy, views_of

KINDS = [(Siamese, SiameseOptions), (Triplet, TripletOptions), (InfoNCE, InfoNCEOptions)]
LABELS = [0, -1, 1, 0, 1, -1]
LABELLED = [0, 2, 3, 4]
CLASSES = [0, 1, 0, 1]


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def batch_of(labels=LABELS, ids=None):
    return Batch(ids=torch.arange(len(labels)) if ids is None else torch.tensor(ids), labels=torch.tensor(labels))


def distances(z):
    u = normalize(z.flatten(0, 1), dim=-1)
    return torch.stack([(u - row).norm(dim=-1) for row in u])


def pairs(names, views=2):
    """Index pairs of views of equal name, and of others."""
    names = list(names) * views
    every = [(i, j) for i in range(len(names)) for j in range(len(names)) if i != j]
    return [p for p in every if names[p[0]] == names[p[1]]], [p for p in every if names[p[0]] != names[p[1]]]


def mean_active(losses):
    active = [loss for loss in losses if loss > 0]
    return torch.stack(active).mean() if active else torch.tensor(0.0)


def siamese_by_hand(z, names, margin):
    d = distances(z)
    positives, negatives = pairs(names)
    pulls = mean_active([d[i, j] ** 2 / 2 for i, j in positives])
    return pulls + mean_active([(margin - d[i, j]).clamp(min=0) ** 2 / 2 for i, j in negatives])


def triplet_by_hand(z, names, margin, mining):
    d = distances(z)
    positives, negatives = pairs(names)
    losses = []
    for i in range(len(d)):
        near = [d[i, j] for k, j in positives if k == i]
        far = [d[i, j] for k, j in negatives if k == i]
        if mining == "hard":
            chosen = [(max(near), min(far))]
        elif mining == "all":
            chosen = [(a, b) for a in near for b in far]
        else:
            chosen = [(a, min([b for b in far if b > a], default=max(far))) for a in near]
        losses += [(a - b + margin).clamp(min=0) for a, b in chosen]
    return mean_active(losses)


@pytest.mark.parametrize("margin", [0.9, 1.5])
@pytest.mark.parametrize("supervised", [False, True])
def test_siamese_draws_pairs_near_and_pushes_others_up_to_the_margin(margin, supervised):
    z = torch.randn(2, 6, 8)
    method = Siamese(Toy(), SiameseOptions(margin=margin, supervised=supervised))
    expected = siamese_by_hand(z[:, LABELLED], CLASSES, margin) if supervised else siamese_by_hand(z, range(6), margin)
    torch.testing.assert_close(method.loss(Latents(z=z), batch_of()).total, expected)


@pytest.mark.parametrize("mining", ["semi_hard", "hard", "all"])
@pytest.mark.parametrize("supervised", [False, True])
def test_triplet_wants_the_positive_nearer_by_the_margin(mining, supervised):
    z = torch.randn(2, 6, 8)
    method = Triplet(Toy(), TripletOptions(margin=0.3, mining=mining, supervised=supervised))
    some, names = (z[:, LABELLED], CLASSES) if supervised else (z, range(6))
    found = method.loss(Latents(z=z), batch_of()).total
    torch.testing.assert_close(found, triplet_by_hand(some, names, 0.3, mining))


def test_infonce_finds_the_second_view_from_the_first_alone():
    z = torch.randn(2, 6, 8)
    found = InfoNCE(Toy(), InfoNCEOptions(temperature=0.3)).loss(Latents(z=z), batch_of()).total
    scores = normalize(z[0], dim=-1) @ normalize(z[1], dim=-1).T / 0.3
    torch.testing.assert_close(found, (scores.logsumexp(1) - scores.diagonal()).mean())


def test_infonce_of_classes_finds_all_candidates_of_the_class():
    z = torch.randn(2, 6, 8)
    found = InfoNCE(Toy(), InfoNCEOptions(temperature=0.3, supervised=True)).loss(Latents(z=z), batch_of()).total
    scores = normalize(z[0, LABELLED], dim=-1) @ normalize(z[1, LABELLED], dim=-1).T / 0.3
    same = torch.tensor(CLASSES)[:, None] == torch.tensor(CLASSES)
    mean = (scores * same).sum(1) / same.sum(1)
    torch.testing.assert_close(found, (scores.logsumexp(1) - mean).mean())


def test_samples_of_equal_content_are_positives_or_at_least_no_negatives():
    z, batch, names = torch.randn(2, 6, 8), batch_of(ids=[0, 1, 2, 3, 4, 4]), [0, 1, 2, 3, 4, 4]
    found = Siamese(Toy(), SiameseOptions(margin=1.5)).loss(Latents(z=z), batch).total
    torch.testing.assert_close(found, siamese_by_hand(z, names, 1.5))
    found = Triplet(Toy(), TripletOptions(margin=0.3)).loss(Latents(z=z), batch).total
    torch.testing.assert_close(found, triplet_by_hand(z, names, 0.3, "semi_hard"))
    found = InfoNCE(Toy(), InfoNCEOptions(temperature=0.3)).loss(Latents(z=z), batch).total
    scores = normalize(z[0], dim=-1) @ normalize(z[1], dim=-1).T / 0.3
    counted = scores.clone()
    counted[4, 5] = counted[5, 4] = -torch.inf
    torch.testing.assert_close(found, (counted.logsumexp(1) - scores.diagonal()).mean())


@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_labels_are_asked_for_with_supervised_alone(kind, options):
    assert kind.required(options()) == kind.requires == Requirements(negatives=kind is not Siamese)
    assert kind.required(options(supervised=True)) == Requirements(labels=True, unlabelled=False)
    assert kind(Toy(), options(supervised=True)).requires == Requirements(labels=True, unlabelled=False)


@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_labels_say_nothing_without_supervised(kind, options):
    z, method = torch.randn(2, 6, 8), kind(Toy(), options())
    one, other = (method.loss(Latents(z=z), batch_of(labels)).total for labels in (LABELS, [0, 0, 0, 1, 1, 1]))
    assert torch.equal(one, other)


@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_a_batch_without_a_label_costs_nothing(kind, options):
    z = torch.randn(2, 6, 8, requires_grad=True)
    total = kind(Toy(), options(supervised=True)).loss(Latents(z=z), batch_of([-1] * 6)).total
    total.backward()
    assert total == 0
    assert (z.grad == 0).all()


# Given negatives: of samples 1, 2 and 5; that of 2 shows the same as sample 4.

HAVE = [1, 2, 5]


def with_negatives(rows=slice(None)):
    present = torch.ones(3, 6, dtype=torch.bool)
    present[2] = torch.tensor([i in HAVE for i in range(6)])
    ids = torch.arange(6)
    return Batch(
        ids=ids,
        labels=torch.full((6,), -1),
        present=present,
        negative_ids=torch.tensor([0, 91, 4, 3, 4, 95]),
        rows=rows,
    )


def test_given_negatives_are_candidates_of_every_anchor_but_of_their_own_kind():
    z = torch.randn(3, 6, 8)
    found = InfoNCE(Toy(), InfoNCEOptions(temperature=0.3)).loss(Latents(z=z), with_negatives()).total
    u = normalize(z, dim=-1)
    scores = u[0] @ torch.cat([u[1], u[2, HAVE]]).T / 0.3
    counted = scores.clone()
    counted[4, 6 + HAVE.index(2)] = -torch.inf
    torch.testing.assert_close(found, (counted.logsumexp(1) - scores.diagonal()).mean())


def test_given_triplets_are_learnt_from_beside_the_mined_ones():
    z = torch.randn(3, 6, 8)
    found = Triplet(Toy(), TripletOptions(margin=0.9)).loss(Latents(z=z), with_negatives()).total
    a, p, n = normalize(z[:, HAVE], dim=-1)
    hinges = (a - p).norm(dim=-1) - (a - n).norm(dim=-1) + 0.9
    mined = triplet_by_hand(z[:2], range(6), 0.9, "semi_hard")
    torch.testing.assert_close(found, mined + mean_active(list(hinges)))


@pytest.mark.parametrize(("kind", "options"), KINDS[1:])
def test_a_sample_without_a_negative_says_nothing_by_its_third_view(kind, options):
    z = torch.randn(3, 6, 8, requires_grad=True)
    kind(Toy(), options()).loss(Latents(z=z), with_negatives()).total.backward()
    none = [i for i in range(6) if i not in HAVE]
    assert (z.grad[2, none] == 0).all()
    assert (z.grad[2, HAVE] != 0).any()


@pytest.mark.parametrize("guard", ["self", "start"])
def test_the_guard_leaves_out_what_it_finds_as_near_as_the_positive(guard):
    z, guide = torch.randn(3, 6, 8), torch.randn(3, 6, 4)
    method = InfoNCE(Toy(), InfoNCEOptions(temperature=0.3, guard=guard, guard_margin=0.1))
    latents = Latents(z=z) if guard == "self" else Latents(z=z, guide=guide)
    found = method.loss(latents, with_negatives()).total
    u, g = normalize(z, dim=-1), normalize(z if guard == "self" else guide, dim=-1)
    scores = u[0] @ torch.cat([u[1], u[2, HAVE]]).T / 0.3
    guided = g[0] @ torch.cat([g[1], g[2, HAVE]]).T
    out = guided > guided.diagonal()[:, None] - 0.1
    out[4, 6 + HAVE.index(2)] = True  # equal content
    out.fill_diagonal_(False)
    assert out.any()
    assert not out.all()
    torch.testing.assert_close(found, (scores.masked_fill(out, -torch.inf).logsumexp(1) - scores.diagonal()).mean())


def test_the_guard_does_not_reward_collapse():
    z = torch.randn(1, 1, 128).expand(2, 64, 128).contiguous()
    loss = InfoNCE(Toy(), InfoNCEOptions(guard="self")).loss(Latents(z=z), batch_of([-1] * 64)).total
    torch.testing.assert_close(loss, torch.tensor(64.0).log())


def test_the_guide_is_the_encoder_as_it_was_before_training():
    method = InfoNCE(Toy(), InfoNCEOptions(guard="start"))
    x = torch.randn(2, 6, 6)
    before = method.encoder(x).detach()
    with torch.no_grad():
        method.encoder.layer.weight.mul_(2)
    torch.testing.assert_close(method.targets(views_of(x))["guide"], before)
    assert not any(p.requires_grad for p in method.guide.parameters())


def test_the_hardest_negative_is_taken_alone_and_given_ones_beside_it():
    z = torch.randn(3, 6, 8)
    found = InfoNCE(Toy(), InfoNCEOptions(temperature=0.3, selection="hardest")).loss(Latents(z=z), with_negatives())
    u = normalize(z, dim=-1)
    a, p, n = u[:, HAVE]
    given = torch.nn.functional.softplus(((a * n).sum(1) - (a * p).sum(1)) / 0.3).mean()
    mined = hardest_negative(z[0], z[1], temperature=0.3)
    torch.testing.assert_close(found.total, mined + given)


def test_without_a_projector_the_encoders_own_vectors_are_compared():
    method, x = InfoNCE(Toy(), InfoNCEOptions(projector_out=0)), torch.randn(2, 6, 6)
    torch.testing.assert_close(method.embed(views_of(x))["z"], method.encoder(x))
    assert not list(method.projector.parameters())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"guard": "self", "selection": "hardest"}, "guard must be off"),
        ({"guard": "self", "supervised": True}, "guard must be off"),
        ({"selection": "hardest", "supervised": True}, "selection must be all"),
        ({"guard_margin": 0.1}, "guard_margin must be 0 without guard"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        InfoNCEOptions(**options)


def test_consistency_adds_the_loss_of_each_view_finding_itself_again():
    z, view_ids = torch.randn(4, 6, 5), torch.tensor([[0, 0, 1, 2, 3, 4], [0, 1, 2, 3, 4, 4]])
    batch = Batch(ids=view_ids[1], labels=torch.full((6,), -1), view_ids=view_ids)
    found = InfoNCE(Toy(), InfoNCEOptions(projector_hidden=8, consistency=0.5)).loss(Latents(z=z), batch).total
    wanted = info_nce(z[0], z[1], temperature=0.2, ids=view_ids[1])
    for one in (0, 1):
        wanted = wanted + 0.5 * info_nce(z[one], z[one + 2], temperature=0.2, ids=view_ids[one])
    torch.testing.assert_close(found, wanted)
    assert InfoNCE.required(InfoNCEOptions(consistency=0.5)).wide == 4
