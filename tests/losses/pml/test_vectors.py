"""The exact cases, by the calls of pytorch-metric-learning and without it."""

import math

import pytest
import torch


@pytest.fixture
def value_of(case):
    """`value_of(name, loss, *args)`: checks that the loss has the case's value; `W=key` takes a parameter from it."""

    def check(name, loss, *args, **params):
        found = case(name)
        inputs = found["inputs"]
        for parameter, value in params.items():
            with torch.no_grad():
                getattr(loss, parameter).data = inputs[value].T if parameter == "W" else inputs[value]
        value = loss(inputs["angles_deg"], inputs["labels"], *args)
        torch.testing.assert_close(value.item(), found["value"], rtol=1e-10, atol=0)

    return check


def test_nt_xent_is_a_mean_over_positive_pairs(ours, value_of):
    value_of("ntxent_labels_pml_meanpair", ours.losses.NTXentLoss(temperature=0.1))


def test_nt_xent_by_anchor_is_a_mean_over_anchors_that_have_a_positive(ours, value_of):
    reducer = ours.reducers.PerAnchorReducer(ours.reducers.AvgNonZeroReducer())
    value_of("ntxent_labels_pml_peranchor", ours.losses.NTXentLoss(temperature=0.1, reducer=reducer))


def test_supcon_is_a_mean_over_anchors_that_have_a_positive(ours, value_of):
    value_of("supcon_out_t0.1_valid_anchors", ours.losses.SupConLoss())


def test_supcon_with_the_mean_counts_the_others_as_zero(ours, value_of):
    loss = ours.losses.SupConLoss(reducer=ours.reducers.MeanReducer())
    value_of("supcon_out_t0.1_all_anchors", loss)


def test_contrastive_is_not_squared(ours, value_of):
    value_of("contrastive_pml_nm0.9", ours.losses.ContrastiveLoss(neg_margin=0.9))


def test_triplets_of_no_loss_are_left_out_of_the_mean(ours, value_of):
    value_of("triplet_all_avg_nonzero_m0.2", ours.losses.TripletMarginLoss(margin=0.2))


def test_triplets_with_the_mean_are_all_counted(ours, value_of):
    loss = ours.losses.TripletMarginLoss(margin=0.2, reducer=ours.reducers.MeanReducer())
    value_of("triplet_all_mean_m0.2", loss)


def test_batch_hard_finds_the_cases_triplets(ours, case, value_of):
    found = case("triplet_batch_hard_m0.2")
    mined = ours.miners.BatchHardMiner()(found["inputs"]["angles_deg"], found["inputs"]["labels"])
    a, p, n = torch.tensor(found["mined_triplets"]).T
    assert torch.equal(mined[0], a)
    assert torch.equal(mined[2], n)
    z = found["inputs"]["angles_deg"]
    # Anchor 1 has two positives equally far: either will do.
    torch.testing.assert_close((z[a] - z[mined[1]]).norm(dim=1), (z[a] - z[p]).norm(dim=1))
    loss = ours.losses.TripletMarginLoss(margin=0.2, reducer=ours.reducers.MeanReducer())
    value_of("triplet_batch_hard_m0.2", loss, mined)
    smooth = ours.losses.TripletMarginLoss(margin=0, smooth_loss=True)
    value_of("triplet_batch_hard_soft_m0.2", smooth, mined)


@pytest.mark.parametrize("kind", ["all", "hard", "semihard", "easy"])
def test_triplet_margin_finds_the_cases_triplets(kind, ours, case):
    found = case("miner_triplet_margin_0.2")
    miner = ours.miners.TripletMarginMiner(margin=0.2, type_of_triplets=kind)
    mined = miner(found["inputs"]["angles_deg"], found["inputs"]["labels"])
    assert torch.stack(mined, 1).tolist() == found["triplets"][kind]
    assert miner.num_triplets == len(found["triplets"][kind])


def test_circle(ours, value_of):
    value_of("circle_m0.25_g256", ours.losses.CircleLoss(m=0.25, gamma=256))


def test_multi_similarity_is_a_mean_over_all_anchors(ours, value_of):
    value_of("multi_similarity_a2_b50_l0.5", ours.losses.MultiSimilarityLoss())


def test_proxy_nca_has_all_proxies_in_the_denominator(ours, value_of):
    value_of("proxynca_softmax", ours.losses.ProxyNCALoss(3, 2), proxies="proxies")


def test_proxy_anchor(ours, value_of):
    value_of("proxyanchor_a32_m0.1", ours.losses.ProxyAnchorLoss(3, 2), proxies="proxies")


def test_arcface_takes_degrees(ours, value_of):
    value_of("arcface_s64_m0.4992", ours.losses.ArcFaceLoss(3, 2), W="weights")
    value_of("arcface_s16_m0.5000", ours.losses.ArcFaceLoss(3, 2, margin=math.degrees(0.5), scale=16), W="weights")


def test_self_supervised_nt_xent_is_simclrs(ours, case):
    found = case("ntxent_simclr_t0.1")
    z1, z2 = (z for z in found["inputs"].values())
    loss = ours.losses.SelfSupervisedLoss(ours.losses.NTXentLoss(temperature=0.1))
    torch.testing.assert_close(loss(z1, z2).item(), found["value"], rtol=1e-10, atol=0)
