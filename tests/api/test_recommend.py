"""A run on users and items, from training to recommendations: what was had is never recommended."""

import json

import numpy as np
import pytest

import nearfar as nf
from nearfar.cli import main
from nearfar.errors import ConfigError, DataError

USERS, ITEMS = 30, 24


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Users of three tastes, each with half of eight items, and the titles beside."""
    place = tmp_path_factory.mktemp("films")
    rng = np.random.default_rng(0)
    rows = []
    for user in range(USERS):
        for time, item in enumerate(rng.permutation(8)[:6]):
            rows.append(f"u{user},{8 * (user % 3) + item},{time}")
    (place / "seen.csv").write_text("\n".join(["user,item,timestamp", *rows]))
    titles = [f"{item},Film {item}" for item in range(ITEMS)]
    (place / "films.csv").write_text("\n".join(["item,title", *titles]))
    return place


@pytest.fixture(scope="module")
def run(folder):
    options = {"method": "infonce", "epochs": 25, "batch_size": 30, "lr": 0.05, "dimensions": 8, "threads": 1}
    return nf.train(folder, out=folder / "run", quiet=True, **options)


def rows_of(run, metric):
    return {row.system: row.value.mean for row in run.evaluation.rows if row.metric == metric}


def test_it_learns_tastes_and_is_judged_beside_its_baselines(run):
    found = rows_of(run, "recall@10")
    assert list(found) == ["popularity", "item-kNN", "EASE", "untrained encoder", "trained encoder"]
    assert found["trained encoder"] > found["popularity"]
    assert "the last 20 % of each user's interactions" in run.evaluation.protocol


def test_recommendations_are_of_the_users_taste_and_never_what_was_had(run):
    for one in nf.recommend(run.path, ["u0", {"history": ["Film 0", "3"]}], k=1):
        had = {item.key for item in one.had}
        assert {int(item.key) // 8 for item in one.items} == {0}
        assert not had & {item.key for item in one.items}
        assert one.items[0].title == f"Film {one.items[0].key}"
    assert len(nf.recommend(run.path, "u0")[0].had) == 6  # what was held out has been had, too


def test_of_an_unknown_user_it_says_so_and_gives_what_is_popular(run, capsys):
    assert main(["recommend", str(run.path), "nobody", "-k", "3", "--json"]) == 0
    (user,) = json.loads(capsys.readouterr().out)["users"]
    assert "nothing is known" in user["note"]
    assert len(user["items"]) == 3


def test_an_unknown_item_is_refused_with_the_nearest_name(run):
    with pytest.raises(DataError, match="none of the 24 items: did you mean 'Film 3'"):
        nf.recommend(run.path, [{"history": ["Filn 3"]}])


def test_items_are_searched_by_their_titles(run):
    hits = nf.search(nf.embed(run.encoder, run.path.parent), "Film 1", k=3)
    assert hits[0].key == "Film 1"
    assert all(int(hit.key.split()[1]) < 8 for hit in hits)


def test_it_resumes_and_reports(run, folder):
    again = nf.train(resume=True, out=run.path, epochs=26, quiet=True)
    assert rows_of(again, "recall@10").keys() == rows_of(run, "recall@10").keys()
    assert "What a few users had" in nf.report(run.path).path.read_text(encoding="utf-8")


def test_encoders_of_other_kinds_recommend_nothing():
    from tests.methods.toys import Toy

    with pytest.raises(ConfigError, match="recommends nothing"):
        nf.recommend(Toy(), ["u0"])


def test_evaluating_the_run_again_gives_its_figures(run, folder):
    found = nf.evaluate(run.path, folder)
    again = {row.system: row.value.mean for row in found.rows if row.metric == "recall@10"}
    assert again == pytest.approx(rows_of(run, "recall@10"))
