"""adapt against what its parts are defined as, and what it believes of samples without a label."""

import pytest
import torch
import torch.nn.functional as F

from nearfar.contract import Batch, Latents
from nearfar.errors import ConfigError
from nearfar.losses import sup_con
from nearfar.methods.adapt import Adapt, AdaptOptions, coral
from nearfar.methods.classify import Classify
from tests.methods.toys import Toy, normal, views_of

X = normal(2, 8, 6)
LABELS = torch.tensor([0, 1, 2, 0, -1, -1, -1, -1])
LATE = 1.0


def made(**options):
    torch.manual_seed(0)
    return Adapt(Toy(), AdaptOptions(classes=3, **options))


def loss_of(method, labels=LABELS, progress=LATE):
    z = method.embed(views_of(X))
    return method.loss(z, Batch(ids=torch.arange(8), labels=labels, progress=progress))


def grown(progress):
    return 2 / (1 + torch.tensor(-10.0 * progress).exp()) - 1


def test_where_all_have_labels_it_is_classify():
    method = made(align="coral", contrast_weight=1.0)
    labels = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])
    torch.testing.assert_close(loss_of(method, labels).total, Classify.loss(method, *held(method, labels)).total)


def held(method, labels):
    return method.embed(views_of(X)), Batch(ids=torch.arange(8), labels=labels)


def test_what_is_said_surely_is_learnt_as_a_label():
    method = made(confidence=0.4, even=False)
    scores = method.head(method.encoder(X.flatten(0, 1))).view(2, 8, 3)
    sure, guess = scores.softmax(-1).mean(0).max(1)
    believed = [i for i in range(4, 8) if sure[i] >= 0.4]
    assert 0 < len(believed) < 4
    extra = sum(F.cross_entropy(scores[v, i], guess[i]) for v in range(2) for i in believed) / (2 * 4)
    found = loss_of(method)
    plain = Classify.loss(method, *held(method, LABELS)).total
    torch.testing.assert_close(found.total, plain + grown(LATE) * extra)
    assert found.logs["confident"] == len(believed) / 4


def test_nothing_is_believed_at_the_first_step():
    torch.testing.assert_close(
        loss_of(made(align="coral"), progress=0.0).total, Classify.loss(made(), *held(made(), LABELS)).total
    )


def test_a_class_that_was_said_too_often_is_believed_less():
    z = torch.zeros(1, 8, 12)
    method = made(confidence=0.1)
    with torch.no_grad():
        method.head.layer.bias.copy_(torch.tensor([0.6, 0.5, 0.0]))
        assert method.believed(z, LABELS < 0).tolist() == [-1] * 4 + [0] * 4
        for _ in range(30):
            method.after_step(Latents(z=z), Batch(ids=torch.arange(8), labels=LABELS))
        method.head.layer.bias.copy_(torch.tensor([0.6, 0.55, 0.0]))
        assert method.believed(z, LABELS < 0).tolist() == [-1] * 4 + [1] * 4


def test_contrast_across_domains_takes_labels_and_what_is_believed_together():
    method = made(confidence=0.4, pseudo_weight=0.0, contrast_weight=2.0, even=False)
    z, batch = held(method, LABELS)
    joint = torch.maximum(LABELS, method.believed(z["z"], LABELS < 0))
    rows = (joint >= 0).nonzero()[:, 0]
    flat = z["z"][:, rows].transpose(0, 1).flatten(0, 1)
    expected = sup_con(flat, labels=joint[rows].repeat_interleave(2), temperature=0.1)
    torch.testing.assert_close(
        loss_of(method).total, Classify.loss(method, z, batch).total + grown(LATE) * 2.0 * expected
    )


def test_coral_is_nothing_for_equal_covariances_whatever_the_means():
    x = normal(20, 5)
    assert coral(x, x + 3).abs() < 1e-9


def test_coral_is_the_squared_difference_of_covariances_over_what_chance_makes_of_it():
    one, other = normal(20, 5), 2 * normal(30, 5, seed=1)
    spread = torch.cat([one, other]).std(0)
    spread = spread.clamp_min(spread.square().mean().sqrt())
    apart = ((one / spread).T.cov() - (other / spread).T.cov()).square().mean()
    torch.testing.assert_close(coral(one, other), apart / (1 / 19 + 1 / 29))


@pytest.mark.parametrize(("count", "dim"), [(8, 300), (500, 10)])
def test_coral_of_two_draws_of_one_domain_is_one_whatever_their_size(count, dim):
    assert coral(normal(count, dim), normal(2 * count, dim, seed=1)) == pytest.approx(1, rel=0.4)


def test_coral_of_constant_vectors_has_a_gradient():
    both = torch.ones(20, 5, requires_grad=True)
    coral(both[:10], both[10:]).backward()
    assert both.grad.isfinite().all()


def test_coral_does_not_make_vectors_shorter():
    both = normal(20, 5).requires_grad_()
    coral(both[:10], both[10:]).backward()
    assert (both.grad * both).sum().abs() < 1e-5
    torch.testing.assert_close(coral(both[:10], both[10:]), coral(100 * both[:10], 100 * both[10:]))


def test_a_dimension_that_hardly_differs_is_not_pushed_further_than_others():
    one, other = (normal(20, 5, seed=seed) * torch.tensor([1.0, 1, 1, 1, 1e-4]) for seed in (0, 1))
    one.requires_grad_()
    coral(one, other).backward()
    assert one.grad[:, 4].abs().max() < one.grad[:, :4].abs().max()


def test_the_critic_learns_to_tell_domains_apart_and_the_encoder_to_hinder_it():
    method = made(align="adversarial", pseudo_weight=0.0)
    z, batch = held(method, LABELS)
    leaf = z["z"].detach().requires_grad_()
    batch = Batch(ids=batch.ids, labels=LABELS, progress=LATE)
    before = method.loss(Latents(z=leaf), batch).parts["aligned_loss"]
    method.loss(Latents(z=leaf), batch).total.backward()
    plain = leaf.detach().requires_grad_()
    Classify.loss(method, Latents(z=plain), batch).total.backward()
    pushed = leaf.detach() - 0.5 * (leaf.grad - plain.grad)
    assert method.loss(Latents(z=pushed), batch).parts["aligned_loss"] > before
    with torch.no_grad():
        for parameter in method.critic.parameters():
            parameter -= 0.1 * parameter.grad
    assert method.loss(Latents(z=leaf), batch).parts["aligned_loss"] < before


def test_statistics_alone_learn_from_labels_alone():
    method = made(align="statistics")
    assert method.options.pseudo_weight == 0
    assert not method.requires.unlabelled
    assert not method.requires.mixed
    assert made().options.pseudo_weight == 1
    z, batch = held(method, LABELS)
    torch.testing.assert_close(loss_of(method).total, Classify.loss(method, z, batch).total)


@pytest.mark.parametrize("name", ["pseudo_weight", "contrast_weight"])
def test_what_is_learnt_of_both_domains_contradicts_statistics_of_one(name):
    with pytest.raises(ConfigError, match=f"{name} must be 0 with align statistics"):
        AdaptOptions(classes=3, align="statistics", **{name: 0.5})


@pytest.mark.parametrize("options", [{"confidence": 0.0}, {"pseudo_weight": -1.0}, {"align": "corall"}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(Exception, match=next(iter(options))):
        AdaptOptions(classes=3, **options)
