import pytest
import torch
from sklearn.linear_model import LogisticRegression

from nearfar.errors import ConfigError, DataError
from nearfar.evaluation import linear
from nearfar.evaluation.linear import FOLDED, GRID, Scaler, fit_linear, fixed_strength


def blobs(count, dims, classes, *, noise=1.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % classes
    centres = torch.randn(classes, dims, generator=torch.Generator().manual_seed(99))
    return centres[labels] + noise * torch.randn(count, dims, generator=generator), labels


def objective(weight, bias, x, labels, strength):
    scores = x.double() @ torch.as_tensor(weight).double().T + torch.as_tensor(bias).double()
    loss = torch.nn.functional.cross_entropy(scores, labels)
    return float(loss + strength * x.shape[1] / 2 * torch.as_tensor(weight).double().square().sum())


@pytest.mark.parametrize("shape", [(200, 8), (30, 100)], ids=["tall", "wide"])
@pytest.mark.parametrize("strength", [1e-2, 1e-4])
def test_minimum_is_that_of_scikit_learn(shape, strength):
    x, labels = blobs(*shape, 4, noise=2.0)
    probe = fit_linear(x, labels, classes=4, strength=strength)
    scaled = probe.scaler.apply(x)
    peer = LogisticRegression(C=1 / (strength * x.numel()), tol=1e-8, max_iter=5000).fit(scaled.double(), labels)
    ours = objective(probe.weight, probe.bias, scaled, labels, strength)
    assert ours == pytest.approx(objective(peer.coef_, peer.intercept_, scaled, labels, strength), rel=2e-4, abs=1e-4)
    assert (probe.predict(x).numpy() == peer.predict(scaled.double())).mean() > 0.99


def test_two_classes_whose_features_say_much_the_same_are_fitted_to_the_minimum():
    x, labels = blobs(1500, 6, 2, noise=3.0)
    x = torch.cat([x, x + 0.01 * torch.randn(x.shape, generator=torch.Generator().manual_seed(1))], dim=1)
    probe = fit_linear(x, labels, classes=2, strength=1e-6)
    scaled = probe.scaler.apply(x)
    peer = LogisticRegression(C=2 / (1e-6 * x.numel()), tol=1e-9, max_iter=50_000).fit(scaled.double(), labels)
    assert probe.converged
    torch.testing.assert_close(
        probe.margin_standardised(scaled), torch.from_numpy(peer.decision_function(scaled)).float(), atol=0.02, rtol=0
    )


def test_the_strength_of_two_classes_is_scaled_to_all_samples():
    x, labels = blobs(1500, 6, 2, noise=6.0)
    assert fit_linear(x, labels, classes=2).strength in [pytest.approx(0.8 * strength) for strength in GRID]


def test_strength_is_chosen_on_the_training_set():
    probe = fit_linear(*blobs(300, 10, 3), classes=3)
    assert probe.chosen
    assert probe.strength in GRID


def test_strength_of_few_labels_may_be_cross_validated():
    noisy, labels = blobs(40, 30, 2, noise=6.0)
    clear, same = blobs(40, 30, 2, noise=0.3)
    weak, strong = (fit_linear(x, y, classes=2, folds=5) for x, y in ((clear, same), (noisy, labels)))
    assert weak.chosen
    assert {weak.strength, strong.strength} <= set(FOLDED)
    assert weak.strength < strong.strength
    assert not fit_linear(noisy[:3], labels[:3], classes=2, folds=5).chosen  # a class of one sample


def test_few_labels_get_the_stated_strength():
    probe = fit_linear(*blobs(12, 10, 3), classes=3)
    assert not probe.chosen
    assert probe.strength == fixed_strength(12) == pytest.approx(0.1 / 12)


def test_one_rare_class_does_not_stop_the_choice():
    x, labels = blobs(101, 6, 2)
    labels[100] = 2
    assert fit_linear(x, labels, classes=3).chosen


def test_scale_and_offset_of_features_do_not_matter():
    x, labels = blobs(120, 6, 3, noise=2.0)
    a, b = fit_linear(x, labels, classes=3), fit_linear(1000 * x + 50, labels, classes=3)
    assert (a.predict(x) == b.predict(1000 * x + 50)).double().mean() > 0.98


def test_constant_dimensions_are_left_out():
    x, labels = blobs(120, 6, 3)
    x = torch.cat([x, torch.zeros(120, 1), torch.full((120, 1), 1e6)], dim=1)
    probe = fit_linear(x, labels, classes=3)
    assert torch.equal(probe.scaler.factor[-2:], torch.zeros(2))
    assert torch.equal(probe.predict(x + torch.tensor([0.0] * 6 + [7.0, 7.0])), probe.predict(x))


def test_constant_embedding_predicts_one_class():
    labels = torch.arange(40) % 4
    assert len(fit_linear(torch.ones(40, 5), labels, classes=4).predict(torch.ones(9, 5)).unique()) == 1


def test_classes_without_samples_are_never_predicted():
    x, labels = blobs(90, 6, 3)
    guess = fit_linear(x, 2 * labels + 1, classes=9).predict(100 * torch.randn(200, 6))
    assert set(guess.tolist()) <= {1, 3, 5}


def test_one_class_is_always_predicted():
    assert fit_linear(torch.randn(9, 3), torch.full((9,), 2), classes=4).predict(torch.randn(5, 3)).tolist() == [2] * 5


def test_stopping_early_is_recorded(monkeypatch):
    monkeypatch.setattr(linear, "_MAX_ITERATIONS", 1)
    assert not fit_linear(*blobs(100, 5, 4, noise=3.0), classes=4, strength=1e-6).converged


def test_same_seed_same_probe():
    x, labels = blobs(100, 5, 4)
    assert torch.equal(fit_linear(x, labels, classes=4).weight, fit_linear(x, labels, classes=4).weight)


def test_number_of_threads_comes_back():
    before = torch.get_num_threads()
    fit_linear(*blobs(30, 4, 2), classes=2)
    assert torch.get_num_threads() == before


def test_scaler_gives_zero_mean_and_unit_variance():
    x = 3 * torch.randn(500, 4) + 7
    y = Scaler.of(x).apply(x)
    assert torch.allclose(y.mean(0), torch.zeros(4), atol=1e-5)
    assert torch.allclose(y.std(0, correction=0), torch.ones(4), atol=1e-5)


def test_a_deviation_counts_as_no_less_than_a_share_of_the_usual_one():
    x = torch.randn(500, 4) * torch.tensor([2.0, 1.0, 1e-3, 0.0])
    deviation = x.std(0, correction=0)
    usual = deviation.square().mean().sqrt()
    found = Scaler.of(x, least=0.5).factor
    expected = torch.stack([1 / deviation[0], 1 / deviation[1], 2 / usual, torch.tensor(0.0)])
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (
            lambda: fit_linear(torch.full((4, 2), torch.nan), torch.arange(4), classes=4),
            DataError,
            "Dimension 0 .* not finite",
        ),
        (lambda: fit_linear(torch.randn(0, 2), torch.arange(0), classes=4), DataError, "at least one"),
        (lambda: fit_linear(torch.randn(4, 2), torch.arange(4), classes=3), DataError, "Label 3"),
        (
            lambda: fit_linear(torch.randn(4, 2), torch.arange(4), classes=4, strength=0),
            ConfigError,
            "strength must be > 0",
        ),
    ],
)
def test_mistakes_are_explained(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_of_strengths_that_name_all_rightly_the_likeliest_is_chosen():
    centres = 4 * torch.eye(3, 6)
    labels = torch.arange(3).repeat(40)
    features = centres[labels] + 0.1 * torch.randn(120, 6, generator=torch.Generator().manual_seed(0))
    probe = fit_linear(features, labels, classes=3)
    assert probe.chosen
    assert probe.strength < GRID[2]
