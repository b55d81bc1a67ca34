"""Several methods on one encoder: the weighted sum of their losses, and all that each promises alone."""

import pytest
import torch

from nearfar.contract import Batch
from nearfar.errors import ConfigError, UnknownName
from nearfar.methods.byol import BYOL
from nearfar.methods.densecl import DenseCL
from nearfar.methods.moco import MoCo
from nearfar.methods.several import Several, parse, required, settle
from nearfar.methods.simclr import SimCLR
from nearfar.methods.supcon import SupCon
from nearfar.testing import check_method
from nearfar.training.step import training_step
from tests.methods.toys import Toy, facts_of, normal, views_of

X = normal(2, 6, 6)
BATCH = Batch(ids=torch.arange(6), labels=torch.tensor([0, 0, 1, 1, 2, -1]))


def both(first, also, encoder=None):
    encoder = encoder or Toy()
    torch.manual_seed(0)
    parts, _ = settle(parse(also), facts_of(40), encoder)
    return Several(first(encoder, first.settle(first.Options(), facts_of(40), encoder)[0]), parts)


def test_the_loss_is_the_weighted_sum():
    method = both(SimCLR, "supcon:0.5,vicreg:0.1")
    z = method.embed(views_of(X))
    found = method.loss(z, BATCH)
    own = [one.loss(one.embed(views_of(X)), BATCH).total for one in (method.method, *method.others.values())]
    torch.testing.assert_close(found.total, own[0] + 0.5 * own[1] + 0.1 * own[2])
    assert {"first_loss", "supcon_loss", "vicreg_loss"} <= found.parts.keys()


def test_the_encoder_embeds_the_views_once_for_all():
    method = both(SimCLR, "supcon:0.5")
    method.embed(views_of(X))
    assert len(method.encoder.seen) == 1


@pytest.mark.parametrize(("first", "also"), [(SimCLR, "densecl:0.5"), (DenseCL, "supcon:0.5")])
def test_maps_that_one_wants_come_from_the_pass_that_all_share(first, also):
    method = both(first, also)
    z = method.embed(views_of(X))
    assert len(method.encoder.seen) == 1
    assert method.requires.maps
    alone = [one.loss(one.embed(views_of(X)), BATCH).total for one in (method.method, *method.others.values())]
    torch.testing.assert_close(method.loss(z, BATCH).total, alone[0] + 0.5 * alone[1])


@pytest.mark.parametrize(
    ("first", "also"), [(SimCLR, "supcon:0.5"), (BYOL, "vicreg:1"), (SimCLR, "classify:0.3"), (BYOL, "densecl:1")]
)
def test_it_keeps_the_promises_of_a_method(first, also):
    class Both(Several):
        Options = first.Options
        settle = first.settle

        def __init__(self, encoder, options):
            parts, _ = settle(parse(also), facts_of(40), encoder)
            super().__init__(first(encoder, options), parts)

    check_method(Both)


def test_each_keeps_its_own_state():
    method = both(SimCLR, "moco:1,byol:1")
    moco, byol = method.others["moco"], method.others["byol"]
    assert (type(moco), type(byol)) == (MoCo, BYOL)
    before = [value.clone() for value in byol.target_projector.state_dict().values()]
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=0.1)
    _, latents = training_step(method, views_of(X), BATCH)
    optimizer.step()
    method.after_step(latents, BATCH)
    after = byol.target_projector.state_dict().values()
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_settled_parts_are_read_back_as_they_were():
    parts, choices = settle(parse("supcon:0.5,vicreg:0.1:variance=10.0"), facts_of(40), Toy())
    text = ",".join(map(str, parts))
    assert parse(text) == parts
    assert settle(parse(text), facts_of(9_000), Toy()) == (parts, [])
    assert any(choice.name == "supcon projector_hidden" for choice in choices)
    assert parts[1].options.variance == 10


def test_labels_are_asked_for_where_one_needs_them():
    assert required(SimCLR, SimCLR.Options(), parse("supcon")).labels
    assert required(SimCLR, SimCLR.Options(), parse("supcon")).unlabelled
    assert not required(SimCLR, SimCLR.Options(), parse("vicreg:2")).labels
    assert SupCon.required(SupCon.Options()).labels


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("supkon:1", UnknownName, "Did you mean 'supcon'"),
        ("supcon:0", ConfigError, "weights above 0"),
        ("supcon:much", ConfigError, "weights above 0"),
        ("supcon:1,supcon:2", ConfigError, "each method once"),
        ("supcon:1:margin=2", ConfigError, "no option of a method in also"),
        ("supcon:1:temperature=-1", ConfigError, "temperature must be above 0"),
    ],
)
def test_wrong_words_are_refused(text, error, says):
    with pytest.raises(error, match=says):
        parse(text)


def test_methods_of_other_views_are_refused():
    with pytest.raises(ConfigError, match="distill wants other views"):
        required(SimCLR, SimCLR.Options(), parse("distill"))
