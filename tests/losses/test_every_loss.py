"""What every loss must do, whatever it compares: the table of all losses, and one property a test."""

import contextlib
import inspect
import itertools

import pytest
import torch

from nearfar import losses
from nearfar.errors import ConfigError, DataError, UnknownName
from nearfar.losses.core.settings import Number, rules_of
from tests.losses.table import (
    LENGTHS,
    LOSSES,
    SETTING,
    TILED,
    embeddings,
    gradients,
    learned_settings,
    outcome,
    tags_of,
)  # fmt: skip

ALL = pytest.mark.parametrize("name", LOSSES)
CLASSES = ("arc_face", "cos_face", "proxy_nca", "proxy_anchor")
WITH_IDS = [name for name, loss in LOSSES.items() if loss.takes("ids")]
NAMED = {"ids", "labels", "groups"}
IDS = torch.tensor([0, 1, 2, 0, 1, 5, 6, 0, 8, 9, 10])


def signature(name):
    return inspect.signature(LOSSES[name].function).parameters


def close(found, expected, rtol=1e-10, atol=1e-12):
    torch.testing.assert_close(found, expected, rtol=rtol, atol=atol)


def ids_of(name, b):
    """Ids, some equal, for a loss that takes them; of the queue too."""
    loss = LOSSES[name]
    return {key: IDS[:b] for key in ("ids", "queue_ids") if loss.takes(key)}


@pytest.fixture
def small_tiles(monkeypatch):
    """Tiles of 8 rows and blocks of about 64 entries, so that small problems are ragged ones of many tiles."""
    monkeypatch.setattr("nearfar.kernels.tiled._EDGE", {"cpu": 8})
    monkeypatch.setattr("nearfar.kernels.tiled._SHORTEST_EDGE", 4)
    monkeypatch.setattr("nearfar.kernels.rows._ENTRIES", 64)


def test_the_table_holds_every_loss():
    functions = {name for name in losses.__all__ if name.islower()}
    assert functions - {name.split("-")[0] for name in LOSSES} == {"dino_center", "sinkhorn", "tico_covariance"}


@pytest.mark.parametrize("name", TILED)
def test_ragged_tiles_equal_the_whole_matrix(name, small_tiles):
    for b, ids in itertools.product((2, 5, 8, 11, 19), (False, True)):
        if ids and (b > 11 or not LOSSES[name].takes("ids")):
            continue
        z, more = embeddings(b), ids_of(name, b) if ids else {}
        dense, tiled = (outcome(name, z, tags_of(b), **more, **learned_settings(name), **way)
                        for way in LOSSES[name].ways())  # fmt: skip
        close(dense, tiled)


@pytest.mark.parametrize("name", [name for name, loss in LOSSES.items() if loss.numeric])
def test_the_gradient_is_that_of_the_value(name):
    for more in ({}, ids_of(name, 7)):
        learned = learned_settings(name)
        z = embeddings(7, seed=5)

        def run(*leaves, keys=tuple(learned), more=more):
            settings = dict(zip(keys, leaves[4:], strict=True))
            return LOSSES[name].call(list(leaves[:4]), tags_of(7), **settings, **more)

        leaves = [x if k < LOSSES[name].inputs else x.detach() for k, x in enumerate(z)]
        assert torch.autograd.gradcheck(run, (*leaves, *learned.values()), fast_mode=True, atol=1e-4)


@pytest.mark.parametrize("name", [name for name, loss in LOSSES.items() if loss.takes("rows")])
def test_shares_of_rows_sum_to_the_whole_with_their_gradients(name):
    loss, z, tags = LOSSES[name], embeddings(11), tags_of(11)
    reductions = [word for word in loss.reductions() if word != "none"]
    for way, reduction, more in itertools.product(loss.ways(), reductions, ({}, ids_of(name, 11))):
        options = {"reduction": reduction, **way, **more}
        shares = [loss.call(z, tags, rows=slice(i, j), **options) for i, j in itertools.pairwise((0, 4, 4, 11))]
        whole = outcome(name, z, tags, **options)
        close([sum(shares).detach(), *gradients(sum(shares), z)], whole)


@pytest.mark.parametrize("name", [name for name, loss in LOSSES.items() if "none" in loss.reductions()])
def test_losses_of_each_row_sum_to_the_loss(name):
    loss, z, tags = LOSSES[name], embeddings(11), tags_of(11)
    if name.startswith("labelled_triplet") and "hard" not in name.split("-"):
        with pytest.raises(ConfigError, match="never held at once"):
            loss.call(z, tags, reduction="none")
        return
    each = loss.call(z, tags, reduction="none")
    if name != "labelled_nt_xent-anchors":  # whose rows are means of their pairs
        close(each.sum(), loss.call(z, tags, reduction="sum"))
    if loss.takes("rows"):
        mine = each[3:8] if name == "bpr-many" else each[..., 3:8]
        close(mine, loss.call(z, tags, reduction="none", rows=slice(3, 8)))
    if "mean_active" not in loss.reductions() and not name.startswith("labelled_nt_xent"):  # every anchor counts
        close(each.mean(), loss.call(z, tags, reduction="mean"))


@pytest.mark.parametrize("name", [name for name, loss in LOSSES.items() if loss.order])
def test_the_order_of_samples_does_not_matter(name):
    for b, seed in ((3, 1), (12, 2)):
        z, tags = [x.detach() for x in embeddings(b, seed=seed)], tags_of(b)
        order = torch.randperm(b, generator=torch.Generator().manual_seed(seed))
        # Which of the negatives are whose is no matter of theirs: queues may be in any order.
        close(LOSSES[name].call([x[order] for x in z], tags[order]), LOSSES[name].call(z, tags))


@pytest.mark.parametrize("name", LENGTHS)
def test_no_length_matters_from_1e_minus_30_to_1e20(name):
    z, tags = embeddings(9, dtype=torch.float32), tags_of(9)
    loss, *plain = outcome(name, z, tags)
    for exponents in ((66, 66, 66, 66), (-99, -99, -99, -99), (66, -99, 10, 0)):
        scaled = [(x.detach() * 2.0**e).requires_grad_() for x, e in zip(z, exponents, strict=True)]
        other, *grads = outcome(name, scaled, tags)
        close(other, loss, rtol=2e-5, atol=1e-6)
        for grad, expected, e in zip(grads, plain, exponents, strict=True):
            close(grad * 2.0**e, expected, rtol=1e-3, atol=1e-5)
    for dtype, e in ((torch.bfloat16, 66), (torch.bfloat16, -99), (torch.float16, 12)):
        half = [x.detach().to(dtype) for x in z]
        close(LOSSES[name].call([x * 2.0**e for x in half], tags), LOSSES[name].call(half, tags), rtol=2e-5, atol=1e-6)


@ALL
def test_half_precision_is_exact_for_the_given_numbers(name):
    tags = tags_of(20)
    low = {key: 0.01 if key == "temperature" else 100.0 for key in LOSSES[name].learned() if key != "bias"}
    for dtype, way in itertools.product((torch.bfloat16, torch.float16), LOSSES[name].ways()):
        z = embeddings(20, 8, dtype=dtype)
        loss = LOSSES[name].call(z, tags, **low, **way)
        exact = LOSSES[name].call([x.detach().double() for x in z], tags, **low, **way)
        assert loss.dtype == torch.float32
        assert loss.item() == pytest.approx(exact.item(), rel=3e-5, abs=1e-5)
        grads = gradients(loss, z)
        assert all(grad.dtype == dtype and grad.isfinite().all() for grad in grads)


@ALL
def test_nothing_that_is_not_finite_is_hidden(name):
    for k, value, way in itertools.product(
        range(LOSSES[name].inputs), (torch.nan, torch.inf, -torch.inf), LOSSES[name].ways()
    ):
        z = embeddings(11, dtype=torch.float32)
        z[k].data[1, 2] = value
        for reduction in {*LOSSES[name].reductions()} & {"mean", "sum"} or {None}:
            loss, *grads = outcome(name, z, tags_of(11), **way, **({"reduction": reduction} if reduction else {}))
            assert loss.isnan()
            assert any(grad.isnan().any() for grad in grads)


@pytest.mark.parametrize("name", LENGTHS)
def test_a_zero_vector_has_a_finite_loss_and_gradient_0(name):
    for k, way in itertools.product(range(LOSSES[name].inputs), LOSSES[name].ways()):
        z = embeddings(11, dtype=torch.float32)
        z[k].data[1] = 0
        loss, *grads = outcome(name, z, tags_of(11), **way)
        assert loss.isfinite()
        assert all(grad.isfinite().all() for grad in grads)
        assert grads[k][1].eq(0).all()


@ALL
def test_where_there_is_nothing_to_compare_with_and_where_all_coincide_gradients_are_finite(name):
    some = LOSSES[name]
    for way in some.ways():
        loss, *grads = outcome(name, [torch.ones(6, 4, requires_grad=True) for _ in range(4)], tags_of(6), **way)
        assert loss.isfinite()
        assert all(grad.isfinite().all() for grad in grads)
    for b, tags in itertools.product((1, 2, 3), ("equal", "different", "none")):
        if b < some.least:
            continue
        labels = {"equal": torch.zeros(b), "different": torch.arange(b), "none": torch.full((b,), -1)}[tags].long()
        for way, more in itertools.product(some.ways(), ({}, {key: torch.zeros(b).long() for key in ids_of(name, b)})):
            loss, *grads = outcome(name, embeddings(b), labels, **learned_settings(name), **way, **more)
            assert loss.isfinite()
            assert all(grad.isfinite().all() for grad in grads)


@pytest.mark.parametrize("name", [name for name, loss in LOSSES.items() if loss.learned()])
def test_a_learned_setting_may_have_any_shape_of_one_element(name, small_tiles):
    z, tags = embeddings(19), tags_of(19)
    for way in LOSSES[name].ways():
        plain = LOSSES[name].call(z, tags, **{key: SETTING[key] for key in LOSSES[name].learned()}, **way)
        loss, *grads = outcome(name, z, tags, **learned_settings(name), **way)
        close(loss, plain.detach())
        for shape in ((1,), (1, 1)):
            again, *others = outcome(name, z, tags, **learned_settings(name, shape), **way)
            close(again, loss)
            close([grad.flatten() for grad in others], [grad.flatten() for grad in grads])
    with pytest.raises(ConfigError, match="must be one number, got 'a tensor of shape"):
        LOSSES[name].call(z, tags, **learned_settings(name, (2,)))


@pytest.mark.parametrize("name", [name for name in LOSSES if NAMED & {*signature(name)} and not name.endswith("mask")])
def test_classes_and_ids_may_be_integers_of_any_type(name):
    z, signed = embeddings(11), tags_of(11)
    for tags, kinds in ((signed, (torch.int8, torch.int16, torch.int32)),
                        (signed.clamp(min=0), (torch.uint8, torch.uint16, torch.uint32, torch.uint64))):  # fmt: skip
        expected = LOSSES[name].call(z, tags, **ids_of(name, 11))
        for kind in kinds:
            if kind in (torch.uint16, torch.uint32, torch.uint64) and name in CLASSES:
                continue  # the table itself cannot make class numbers of these
            ids = {key: value.to(kind) for key, value in ids_of(name, 11).items()}
            close(LOSSES[name].call(z, tags.to(kind), **ids), expected)


@ALL
def test_autocast_changes_nothing_forward_or_backward(name):
    z, tags = embeddings(9, 16, dtype=torch.float32), tags_of(9)
    for way in LOSSES[name].ways():
        learned = learned_settings(name, dtype=torch.float32)
        plain = outcome(name, z, tags, **learned, **way)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            within = outcome(name, z, tags, **learned, **way)
        assert all(x.equal(y) for x, y in zip(plain, within, strict=True))


@pytest.mark.parametrize("name", [name for name in TILED if not name.endswith("mask")])  # which is B x B itself
def test_memory_grows_with_the_batch_and_not_with_its_square(name, peak_bytes, monkeypatch):
    monkeypatch.setattr("nearfar.kernels.rows._ENTRIES", 2**14)
    monkeypatch.setattr("nearfar.kernels.tiled._EDGE", {"cpu": 160})

    def peak(b):
        z, tags = embeddings(b, 8, dtype=torch.float32), torch.arange(b) // 4
        return peak_bytes(lambda: LOSSES[name].call(z, tags, implementation="tiled").sum().backward())

    small, large = peak(320), peak(960)
    assert large < 3.5 * small + 1e5
    assert large < 960**2 * 4 / 2


@pytest.mark.parametrize("name", TILED)
def test_the_dense_form_has_a_second_derivative_and_the_tiled_form_says_that_it_has_none(name):
    for way in LOSSES[name].ways():
        z = embeddings(5)
        grads = torch.autograd.grad(LOSSES[name].call(z, tags_of(5), **way), z, create_graph=True, allow_unused=True)
        total = sum(grad.square().sum() for grad in grads if grad is not None)
        # The hardest triplets are found without a gradient, and compared in one way.
        refused = way["implementation"] == "tiled" and not name.startswith("labelled_triplet-hard")
        with pytest.raises(ConfigError, match="no second derivative") if refused else contextlib.nullcontext():
            total.backward()


NEVER_WAITS = [
    "alignment-1.5", "angle", "barlow_twins", "bpr", "byol", "cosent", "dino", "emp_ssl", "koleo", "lejepa",
    "negative_cosine", "pearson", "simsiam", "swav", "tico", "vicreg",
]  # fmt: skip


@pytest.mark.parametrize("name", NEVER_WAITS)
def test_nothing_leaves_the_device_or_waits_for_it(name, monkeypatch):
    # The meta device has no values to wait for, and refuses to work with tensors of another.
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())  # not made for meta
    z = [torch.empty(6, 4, device="meta", dtype=torch.bfloat16, requires_grad=True) for _ in range(4)]
    loss = LOSSES[name].call(z, torch.empty(6, device="meta", dtype=torch.long))
    assert loss.device.type == "meta"
    loss.backward()
    assert {x.grad.device.type for x in z if x.grad is not None} == {"meta"}


@ALL
def test_mistakes_are_named(name):
    loss, z, tags = LOSSES[name], embeddings(6), tags_of(6)
    for key, rule in rules_of(loss.function).items():
        bad, words = (torch.nan, "got nan") if isinstance(rule, Number) else ("l7", "got 'l7'")
        with pytest.raises((ConfigError, TypeError), match=rf"{key} .*{words}|multiple values"):
            loss.call(z, tags, **{key: bad})
    with pytest.raises((DataError, AssertionError), match=r"empty|needs|at least|must"):
        loss.call([x[:0] for x in z], tags[:0])
    with pytest.raises(DataError, match=r"floating point|must"):
        loss.call([torch.ones(6, 4, dtype=torch.long)] * 4, tags)
    with pytest.raises((DataError, RuntimeError), match=r"shape|\[|size|dimensions"):
        loss.call([z[0][0], *z[1:]], tags)
    if loss.inputs > 1 and loss.order:
        with pytest.raises((DataError, RuntimeError), match=r"shape|\[|size|dimensions"):
            loss.call([z[0], *(x[:4] for x in z[1:])], tags)
    if loss.takes("rows"):
        with pytest.raises(ConfigError, match=r"rows must be a range within 0\.\.6"):
            loss.call(z, tags, rows=slice(2, 9))
    if loss.takes("implementation") and not name.startswith("labelled_triplet-hard"):
        with pytest.raises(UnknownName, match="Did you mean 'tiled'"):
            loss.call(z, tags, implementation="tile")


@pytest.mark.parametrize("name", WITH_IDS)
def test_ids_rule_out_and_are_checked(name):
    z, tags = embeddings(11), tags_of(11)
    different = {key: torch.tensor([5, -9, 3, 4, 100, 2, 1, 77, 8, 9, 6]) + 1000 * (key == "queue_ids")
                 for key in ids_of(name, 11)}  # fmt: skip
    for way in LOSSES[name].ways():
        plain = LOSSES[name].call(z, tags, **way)
        close(LOSSES[name].call(z, tags, **different, **way), plain)
        assert not LOSSES[name].call(z, tags, **ids_of(name, 11), **way).isclose(plain)
    for bad, error in ((torch.tensor([1, 2]), DataError), (torch.ones(11), ConfigError)):
        with pytest.raises(error, match="must"):
            LOSSES[name].call(z, tags, **(ids_of(name, 11) | {"ids": bad}))
