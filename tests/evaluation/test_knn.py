import pytest
import torch

from nearfar.errors import ConfigError, DataError
from nearfar.evaluation import knn, screening
from nearfar.evaluation.knn import knn_predict, nearest, vote
from nearfar.evaluation.selection import groups_of


def cosines(bank, queries):
    a, b = (x.double() / x.double().norm(dim=1, keepdim=True) for x in (bank, queries))
    return b @ a.T


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("count", "k"), [(7, 3), (40, 40), (3001, 1), (3001, 5), (3001, 50), (500, 200)])
def test_nearest_is_exact(count, k):
    bank, queries = random(count, 6), random(11, 6, seed=1)
    values, indices = nearest(bank, queries, k)
    want = cosines(bank, queries).sort(dim=1, descending=True)
    assert torch.equal(indices, want.indices[:, :k])
    assert torch.allclose(values.double(), want.values[:, :k], atol=1e-6)


def test_large_banks_take_the_grouped_selection():
    assert groups_of(3001, 5) > 0
    assert groups_of(500, 200) == 0


@pytest.mark.parametrize("exclude_self", [False, True])
@pytest.mark.parametrize("spread", [1.0, 1e-3])
def test_a_first_look_in_bf16_changes_nothing(monkeypatch, spread, exclude_self):
    bank = random(1500, 32) * spread + random(1, 32, seed=2)  # with a small spread, rounding hides who is near
    queries = bank if exclude_self else random(300, 32, seed=1) * spread + random(1, 32, seed=2)
    want = nearest(bank, queries, 7, exclude_self)
    monkeypatch.setattr(screening, "pays", lambda *_: True)
    monkeypatch.setattr(screening, "_TILE", 1500 * 100)
    values, indices = nearest(bank, queries, 7, exclude_self)
    assert torch.allclose(values, want[0], atol=1e-6)
    exact = cosines(bank, queries)
    exact = exact.fill_diagonal_(-2) if exclude_self else exact
    assert torch.allclose(exact.gather(1, indices), exact.topk(7).values, atol=1e-6)


def test_a_first_look_in_bf16_settles_what_it_can():
    bank, queries = knn.unit_rows(random(1500, 32)), knn.unit_rows(random(300, 32, seed=1))
    values, indices = torch.empty(300, 7), torch.empty(300, 7, dtype=torch.long)
    assert len(screening.settle(bank, queries, 7, values, indices)) < 100


def test_chunks_change_nothing(monkeypatch):
    bank, queries = random(600, 5), random(50, 5, seed=1)
    whole = nearest(bank, queries, 4)
    monkeypatch.setattr(knn, "_TILE", 2000)
    parts = nearest(bank, queries, 4)
    assert torch.equal(whole[1], parts[1])


@pytest.mark.parametrize("tile", [2000, 2**25])
def test_no_row_finds_itself(monkeypatch, tile):
    monkeypatch.setattr(knn, "_TILE", tile)
    x = random(700, 5)
    values, indices = nearest(x, x, 3, exclude_self=True)
    assert (indices != torch.arange(700)[:, None]).all()
    assert torch.allclose(values.double(), cosines(x, x).fill_diagonal_(-2).topk(3).values, atol=1e-6)


def test_k_is_capped_at_the_bank():
    assert nearest(random(4, 3), random(2, 3), 20)[0].shape == (2, 4)
    assert nearest(random(4, 3), random(4, 3), 20, exclude_self=True)[0].shape == (4, 3)


def test_zero_vectors_are_at_right_angles_to_everything():
    bank = random(5, 3)
    bank[2] = 0
    values, _ = nearest(bank, torch.zeros(1, 3), 5)
    assert torch.equal(values, torch.zeros(1, 5))


def test_extreme_scales_do_not_matter():
    bank, queries = random(30, 4), random(6, 4, seed=1)
    scale = 10.0 ** torch.linspace(-30, 30, 30)[:, None]
    assert torch.allclose(nearest(bank * scale, queries * 1e30, 5)[0], nearest(bank, queries, 5)[0], atol=1e-6)


def test_reduced_precision_of_a_run_is_put_aside_and_back():
    bank, queries = random(300, 64), random(5, 64, seed=1)
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            values, _ = nearest(bank, queries, 3)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert torch.allclose(values.double(), cosines(bank, queries).topk(3).values, atol=1e-6)


def test_no_queries_give_no_neighbours():
    assert nearest(random(5, 3), random(0, 3), 2)[1].shape == (0, 2)


def test_vote_equals_the_sum_of_weights():
    similarities = random(40, 7).tanh().sort(dim=1, descending=True).values
    labels = torch.randint(0, 4, (40, 7), generator=torch.Generator().manual_seed(2))
    for guess, sims, names in zip(
        vote(similarities, labels, classes=4, temperature=0.3), similarities, labels, strict=True
    ):
        votes = [
            sum(float((s.double() / 0.3).exp()) for s, n in zip(sims, names, strict=True) if n == c) for c in range(4)
        ]
        assert votes[int(guess)] == pytest.approx(max(votes))


def test_equal_votes_go_to_the_nearest_and_not_to_the_lowest_class():
    assert vote(torch.full((1, 4), 0.5), torch.tensor([[2, 0, 1, 3]]), classes=4).item() == 2


def test_low_temperatures_do_not_overflow():
    guess = vote(torch.tensor([[1.0, 0.99, 0.99]]), torch.tensor([[1, 0, 0]]), classes=2, temperature=1e-4)
    assert guess.item() == 1


@pytest.mark.parametrize("k", [1, 20, 200])
def test_a_constant_embedding_scores_what_chance_does(k):
    labels = torch.arange(10).repeat_interleave(50)
    guess = knn_predict(torch.full((500, 8), 0.3), labels, torch.full((100, 8), 0.3), classes=10, k=k)
    assert (guess == torch.arange(10).repeat_interleave(10)).double().mean() == pytest.approx(0.1)


def test_separated_classes_are_all_found():
    centres = 5 * torch.eye(4)
    labels = torch.arange(4).repeat(25)
    bank = centres[labels] + 0.1 * random(100, 4)
    assert torch.equal(knn_predict(bank, labels, centres, classes=4), torch.arange(4))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: nearest(random(3, 2), random(3, 2), 0), ConfigError, "k must be >= 1, got 0"),
        (lambda: nearest(random(0, 2), random(3, 2), 1), DataError, "0 rows has no neighbours"),
        (lambda: nearest(random(3, 2), random(3, 4), 1), DataError, "The bank is 2 wide, the queries 4"),
        (lambda: nearest(random(3, 2), random(2, 2), 1, exclude_self=True), DataError, "the bank's own rows"),
        (lambda: nearest(torch.tensor([[1.0], [torch.nan]]), random(1, 1), 1), DataError, "Row 1 .* not finite"),
        (lambda: nearest(random(3), random(3, 3), 1), DataError, r"matrix \[N, D\]"),
        (
            lambda: knn_predict(random(3, 2), torch.tensor([0, 1, -1]), random(1, 2), classes=2),
            DataError,
            "Label -1 is not one of the 2 classes",
        ),
        (
            lambda: knn_predict(random(3, 2), torch.tensor([0, 1]), random(1, 2), classes=2),
            DataError,
            "One label a row",
        ),
        (
            lambda: vote(torch.ones(1, 1), torch.zeros(1, 1).long(), classes=1, temperature=0),
            ConfigError,
            "temperature",
        ),
    ],
)
def test_mistakes_are_explained(call, error, words):
    with pytest.raises(error, match=words):
        call()
