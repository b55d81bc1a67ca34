"""Modules of losses: each is its function with the settings it was made with."""

import copy
import inspect
import pickle

import pytest
import torch
from torch import nn

from nearfar import losses as L
from nearfar.errors import ConfigError, DataError
from nearfar.losses.core.module import LossModule
from nearfar.losses.core.settings import Number
from tests.losses.table import center_of, embeddings, normal

FLAGS, TAGS = torch.tensor([True, False, True, True, False, False]), torch.tensor([0, 1, 0, 2, 1, 0])
MASK = TAGS[:, None] == TAGS
PATCHES = torch.tensor([[True] * 4, [True, False, True, False]])


def even(mean):
    return torch.ones_like(mean) / len(mean)


# Made with settings that are no defaults; called; the function with the same settings.
MODULES = {
    "AlignmentLoss": ({"alpha": 1.5}, lambda m, z: m(*z[:2]), lambda z: L.alignment(*z[:2], alpha=1.5)),
    "AnglELoss": ({"scale": 3.0}, lambda m, z: m(*z[:2], TAGS), lambda z: L.angle(*z[:2], scores=TAGS, scale=3.0)),
    "BPRLoss": ({"reduction": "sum"}, lambda m, z: m(*z[:3]), lambda z: L.bpr(*z[:3], reduction="sum")),
    "BYOLLoss": ({"reduction": "sum"}, lambda m, z: m(z[:2], z[2:]), lambda z: L.byol(z[:2], z[2:], reduction="sum")),
    "BarlowTwinsLoss": (
        {"lambda_param": 0.3}, lambda m, z: m(*z[:2]), lambda z: L.barlow_twins(*z[:2], redundancy=0.3)
    ),
    "CLIPLoss": ({"initial_scale": 5.0}, lambda m, z: m(*z[:2]), lambda z: L.clip(*z[:2], scale=5.0)),
    "CircleLoss": (
        {"margin": 0.3, "gamma": 9.0}, lambda m, z: m(z[0], labels=TAGS),
        lambda z: L.circle(z[0], labels=TAGS, margin=0.3, gamma=9.0),
    ),
    "CoSENTLoss": ({"scale": 3.0}, lambda m, z: m(*z[:2], TAGS), lambda z: L.cosent(*z[:2], scores=TAGS, scale=3.0)),
    "ContrastiveCrossEntropyLoss": (
        {"temperature": 0.5}, lambda m, z: m(*z[:2], z[2][:, None]),
        lambda z: L.contrastive_cross_entropy(*z[:2], z[2][:, None], temperature=0.5),
    ),
    "ContrastiveLoss": (
        {"margin": 0.7, "squared": False}, lambda m, z: m(*z[:2], similar=FLAGS),
        lambda z: L.contrastive(*z[:2], similar=FLAGS, margin=0.7, squared=False),
    ),
    "DCLLoss": ({"temperature": 0.5}, lambda m, z: m(*z[:2]), lambda z: L.dcl(*z[:2], temperature=0.5)),
    "DCLWLoss": (
        {"temperature": 0.5, "sigma": 0.2}, lambda m, z: m(*z[:2]),
        lambda z: L.dclw(*z[:2], temperature=0.5, sigma=0.2),
    ),
    "DINOLoss": (
        {"output_dim": 4, "teacher_temp": 0.2}, lambda m, z: m(z[:2], z),
        lambda z: L.dino(z[:2], z, center=0 * center_of(z), teacher_temperature=0.2),
    ),
    "DebiasedLoss": (
        {"temperature": 0.2, "tau_plus": 0.3}, lambda m, z: m(*z[:2]),
        lambda z: L.debiased(*z[:2], temperature=0.2, tau_plus=0.3),
    ),
    "DirectCLRLoss": (
        {"loss_dim": 2}, lambda m, z: m(*z[:2]), lambda z: L.direct_clr(*z[:2], dims=2, temperature=0.5)
    ),
    "EMPSSLLoss": (
        {"tcr_eps": 0.5, "inv_coef": 3.0}, lambda m, z: m(z), lambda z: L.emp_ssl(z, eps=0.5, invariance=3.0)
    ),
    "GISTEmbedLoss": (
        {"temperature": 0.3, "margin": 0.1}, lambda m, z: m(*z[:2], guide=z[2:]),
        lambda z: L.gist_embed(*z[:2], guide=z[2:], temperature=0.3, margin=0.1),
    ),
    "HCLLoss": ({"beta": 0.3}, lambda m, z: m(*z[:2]), lambda z: L.hcl(*z[:2], beta=0.3)),
    "HardestNegativeLoss": (
        {"temperature": 0.4}, lambda m, z: m(*z[:2]), lambda z: L.hardest_negative(*z[:2], temperature=0.4)
    ),
    "IBOTPatchLoss": (
        {"output_dim": 4, "student_temp": 0.3}, lambda m, z: m(*z[:2], PATCHES),
        lambda z: L.ibot_patch(*z[:2], mask=PATCHES, center=0 * center_of(z), student_temperature=0.3),
    ),
    "InfoNCELoss": (
        {"temperature": 0.2, "symmetric": True}, lambda m, z: m(*z[:3]),
        lambda z: L.info_nce(*z[:2], negatives=z[2], temperature=0.2, symmetric=True),
    ),
    "KoLeoLoss": ({"p": 3.0, "eps": 0.1}, lambda m, z: m(z[0]), lambda z: L.koleo(z[0], p=3.0, eps=0.1)),
    "LabelledContrastiveLoss": (
        {"positive_margin": 0.1}, lambda m, z: m(z[0], labels=TAGS),
        lambda z: L.labelled_contrastive(z[0], labels=TAGS, positive_margin=0.1),
    ),
    "LabelledNTXentLoss": (
        {"average": "anchors"}, lambda m, z: m(z[0], labels=TAGS),
        lambda z: L.labelled_nt_xent(z[0], labels=TAGS, average="anchors"),
    ),
    "LabelledTripletLoss": (
        {"margin": None, "mining": "hard"}, lambda m, z: m(z[0], labels=TAGS),
        lambda z: L.labelled_triplet(z[0], labels=TAGS, margin=None, mining="hard"),
    ),
    "LeJEPALoss": (
        {"lambda_param": 0.5, "sigreg_num_vectors": 7},
        lambda m, z: m(local_proj=torch.stack(z[:2]), global_proj=torch.stack(z[2:])),
        lambda z: L.lejepa(torch.stack(z[:2]), torch.stack(z[2:]), weight=0.5, directions=drawn(7)),
    ),
    "MMCRLoss": (
        {"lmda": 0.3}, lambda m, z: m(torch.stack(z[:2], 1), torch.stack(z[2:], 1)),
        lambda z: L.mmcr(torch.stack(z, 1), weight=0.3, normalize=False),
    ),
    "MSNLoss": (
        {"temperature": 0.3, "sinkhorn_iterations": 2}, lambda m, z: m(torch.cat(z[:2]), z[2], z[3]),
        lambda z: L.msn(torch.cat(z[:2]), z[2], z[3], temperature=0.3, iterations=2),
    ),
    "SEEDLoss": ({"temperature": 0.3}, lambda m, z: m(*z[:2]), lambda z: L.seed_distill(*z[:2], temperature=0.3)),
    "MoCoLoss": ({"temperature": 0.3}, lambda m, z: m(*z[:3]), lambda z: L.moco(*z[:3], temperature=0.3)),
    "MultiPositiveLoss": (
        {"variant": "in"}, lambda m, z: m(*z[:2], MASK), lambda z: L.multi_positive(*z[:2], mask=MASK, variant="in")
    ),
    "MultiSimilarityLoss": (
        {"alpha": 3.0, "beta": 9.0, "base": 0.1}, lambda m, z: m(z[0], labels=TAGS),
        lambda z: L.multi_similarity(z[0], labels=TAGS, alpha=3.0, beta=9.0, base=0.1),
    ),
    "NNCLRLoss": (
        {"temperature": 0.3}, lambda m, z: m(z[:2], z[2:], z[0].flip(0)),
        lambda z: L.nnclr(z[:2], z[2:], z[0].flip(0), temperature=0.3),
    ),
    "NPairLoss": ({"reduction": "sum"}, lambda m, z: m(*z[:2]), lambda z: L.n_pair(*z[:2], reduction="sum")),
    "NTXentLoss": ({"temperature": 0.3}, lambda m, z: m(*z[:3]), lambda z: L.nt_xent(*z[:3], temperature=0.3)),
    "NegativeCosineSimilarity": ({}, lambda m, z: m(*z[:2]), lambda z: L.negative_cosine(*z[:2])),
    "PMSNCustomLoss": (
        {"target_distribution": even}, lambda m, z: m(torch.cat(z[:2]), z[2], z[3]),
        lambda z: L.msn(torch.cat(z[:2]), z[2], z[3], prior=even),
    ),
    "PearsonLoss": ({}, lambda m, z: m(*z[:2], TAGS), lambda z: L.pearson(*z[:2], scores=TAGS)),
    "PMSNLoss": (
        {"power_law_exponent": 0.0}, lambda m, z: m(torch.cat(z[:2]), z[2], z[3]),
        lambda z: L.msn(torch.cat(z[:2]), z[2], z[3], prior=even),
    ),
    "SIGReg": ({"num_vectors": 7}, lambda m, z: m(z[0]), lambda z: L.sigreg(z[0], directions=drawn(7))),
    "SigLIPLoss": (
        {"initial_scale": 3.0, "initial_bias": -1.0}, lambda m, z: m(*z[:2]),
        lambda z: L.siglip(*z[:2], scale=3.0, bias=-1.0),
    ),
    "SimSiamLoss": (
        {"reduction": "sum"}, lambda m, z: m(z[:2], z[2:]), lambda z: L.simsiam(z[:2], z[2:], reduction="sum")
    ),
    "SupConLoss": (
        {"temperature": 0.2, "base_temperature": None, "reduction": "mean_active"},
        lambda m, z: m(torch.stack(z[:2], 1), TAGS),
        lambda z: L.sup_con(torch.cat(z[:2]), labels=TAGS.repeat(2), temperature=0.2),
    ),
    "SwaVLoss": (
        {"sinkhorn_iterations": 1, "sinkhorn_epsilon": 0.3}, lambda m, z: m(z[:2], z[2:]),
        lambda z: L.swav(z[:2], z[2:], iterations=1, epsilon=0.3),
    ),
    "TiCoLoss": (
        {"beta": 0.2, "rho": 3.0}, lambda m, z: m(*z[:2]),
        lambda z: L.tico(*z[:2], covariance=L.tico_covariance(None, z[0], beta=0.2), rho=3.0),
    ),
    "TripletLoss": (
        {"margin": None, "distance": "cosine"}, lambda m, z: m(*z[:3]),
        lambda z: L.triplet(*z[:3], margin=None, distance="cosine"),
    ),
    "UniformityLoss": ({"t": 3.0}, lambda m, z: m(z[0]), lambda z: L.uniformity(z[0], t=3.0)),
    "VICRegLoss": (
        {"mu_param": 4.0, "eps": 0.1}, lambda m, z: m(*z[:2]), lambda z: L.vicreg(*z[:2], variance=2.0, eps=0.1)
    ),
    "WeightedNegativesLoss": (
        {"focus": 0.3}, lambda m, z: m(*z[:2]), lambda z: L.weighted_negatives(*z[:2], focus=0.3)
    ),
}  # fmt: skip
OF_CLASSES = {
    "ArcFaceLoss": (L.arc_face, {"scale": 8.0, "margin": 0.3}),
    "CosFaceLoss": (L.cos_face, {"scale": 8.0, "margin": 0.3}),
    "ProxyNCALoss": (L.proxy_nca, {"scale": 8.0, "original": True}),
    "ProxyAnchorLoss": (L.proxy_anchor, {"alpha": 8.0, "margin": 0.3}),
}


def drawn(count):
    torch.manual_seed(0)
    return torch.nn.functional.normalize(torch.randn(4, count, dtype=torch.float64), dim=0)


def made(name):
    if name in OF_CLASSES:
        return getattr(L, name)(4, 5, **OF_CLASSES[name][1])
    return getattr(L, name)(**MODULES[name][0]).double()


def test_the_tables_hold_every_module():
    modules = {name for name in L.__all__ if not name.islower()}
    assert modules - MODULES.keys() - OF_CLASSES.keys() == {"CrossBatchMemory"}


@pytest.mark.parametrize("name", MODULES)
def test_a_module_is_its_function_with_its_settings(name):
    settings, call, function = MODULES[name]
    z = [x.detach() for x in embeddings(6)]
    module = made(name)
    torch.manual_seed(0)
    # Learned scales are float32.
    torch.testing.assert_close(call(module, z).detach(), function(z), rtol=1e-7, atol=1e-12)
    shown = {key: value for key, value in settings.items() if not key.startswith("initial")}
    assert all(f"{key}={value!r}" in repr(module) for key, value in shown.items())


@pytest.mark.parametrize("name", OF_CLASSES)
def test_a_module_of_classes_owns_their_vectors(name):
    function, settings = OF_CLASSES[name]
    torch.manual_seed(0)
    module = getattr(L, name)(64, 500, **settings)
    ((parameter, vectors),) = module.named_parameters()
    assert parameter == ("weight" if "Face" in name else "proxies")
    assert vectors.shape == (500, 64)
    assert vectors.norm(dim=1).mean().item() == pytest.approx(1, abs=0.02)
    assert vectors.mean(0).norm().item() < 0.1, "directions are not spread evenly"
    z, labels = normal(9, 64, dtype=torch.float32), torch.arange(9)
    value = module(z, labels=labels)
    assert value.equal(function(z, vectors, labels=labels, **settings))
    value.backward()
    assert vectors.grad.abs().max() > 0
    for sizes, words in (((0, 3), "dim must be > 0, got 0"), ((2, 0), "classes must be > 0, got 0")):
        with pytest.raises(ConfigError, match=words):
            getattr(L, name)(*sizes)


@pytest.mark.parametrize("name", [*MODULES, *OF_CLASSES])
def test_a_module_says_what_it_takes_and_checks_it_when_it_is_made(name):
    kind = getattr(L, name)
    parameters = inspect.signature(kind).parameters
    assert inspect.signature(kind.__init__).parameters.keys() == parameters.keys() | {"self"}
    assert all("Annotated" not in str(p.annotation) for p in parameters.values())
    assert "self" in inspect.signature(kind.forward).parameters
    assert kind.forward.__doc__
    for key, rule in kind._rules.items():
        required = [4, 5] if name in OF_CLASSES else [even] if name == "PMSNCustomLoss" else []
        bad, words = (torch.nan, "got nan") if isinstance(rule, Number) else ("l7", "got 'l7'")
        if key != "target_distribution":
            with pytest.raises(ConfigError, match=rf"{key} .*{words}"):
                kind(*required, **{key: bad})


@pytest.mark.parametrize(
    "name", ["NTXentLoss", "ArcFaceLoss", "CLIPLoss", "DINOLoss", "TiCoLoss", "LabelledTripletLoss"]
)
def test_a_module_survives_copies_pickles_and_state_dicts(name):
    module = made(name)
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert repr(other) == repr(module)
        assert all(torch.equal(x, y) for x, y in zip(other.parameters(), module.parameters(), strict=True))
    made(name).load_state_dict(module.state_dict())


def test_a_setting_that_is_a_parameter_is_learned():
    loss = L.NTXentLoss(nn.Parameter(torch.tensor([0.5])))
    z = embeddings(6)
    value = loss(*z[:2])
    assert [name for name, _ in loss.named_parameters()] == ["temperature"]
    torch.testing.assert_close(value, L.nt_xent(*z[:2], temperature=0.5))
    value.backward()
    assert loss.temperature.grad.shape == (1,)


def test_settings_that_are_not_learned_take_tensors_without_gradient_alone():
    z = embeddings(6)
    plain = L.triplet(*z[:3], margin=0.3)
    assert L.triplet(*z[:3], margin=torch.tensor([0.3], dtype=torch.float64)).equal(plain)
    with pytest.raises(ConfigError, match=r"margin is not learned.*margin\.detach\(\)"):
        L.triplet(*z[:3], margin=torch.tensor(0.3, requires_grad=True))


def test_a_loss_of_ones_own_is_a_class_with_fields():
    class Scaled(LossModule, of=L.nt_xent):
        """Doubled."""

        temperature: float = 0.2
        factor: float = 2.0

        def forward(self, *views):
            return self.factor * self.compute(*views)

    z = embeddings(6)
    torch.testing.assert_close(Scaled()(*z[:2]), 2 * L.nt_xent(*z[:2], temperature=0.2))
    assert repr(Scaled(factor=3.0)) == "Scaled(temperature=0.2, factor=3.0)"


def test_a_memory_bank_inside_the_loss_is_refused_with_what_to_do():
    for kind in (L.NTXentLoss, L.DirectCLRLoss):
        for size in (4096, (4096, 128)):
            with pytest.raises(ConfigError, match=r"memory_bank_size must be 0.*MoCoLoss"):
                kind(memory_bank_size=size)


def test_wrong_shapes_are_assertion_errors_and_value_errors():
    with pytest.raises(AssertionError) as error:
        L.VICRegLoss()(torch.ones(3, 4), torch.ones(2, 4))
    assert isinstance(error.value, (DataError, ValueError))
