"""Interactions are found by their columns; what cannot be used is listed; each user has a part that judges."""

import numpy as np
import pytest

from nearfar.errors import DataError
from nearfar.modalities import registry
from nearfar.modalities.interactions import MODALITY
from nearfar.modalities.interactions.options import InteractionOptions
from nearfar.modalities.opening import open_source

ROWS = [  # user, item, rating, time
    *[(user, item, 1 + (user + item) % 5, 1000 * item + user) for user in range(6) for item in range(10)],
]


def table(folder, rows=ROWS, header="userId,movieId,rating,timestamp", name="ratings.csv"):
    file = folder / name
    file.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]))
    return str(file)


def opened(data, **options):
    return open_source(MODALITY, data, options=InteractionOptions(**options))


def named(source, rows):
    found = source.take(rows)
    return {(source.log.users[u], source.log.items[i]) for u, i in zip(found.user, found.item, strict=True)}


def test_a_table_of_users_and_items_is_known_by_its_columns_alone_and_in_a_folder(tmp_path):
    assert registry.find(table(tmp_path)) == "interactions"
    (tmp_path / "movies.csv").write_text("movieId,title\n0,Heat (1995)\n1,Casino (1995)\n")
    assert registry.find(str(tmp_path)) == "interactions"
    source = opened(str(tmp_path))
    assert len(source) == 60
    assert source.relation.answers.keys[:3] == ["Heat (1995)", "Casino (1995)", "2"]


def test_titles_may_stand_in_the_table_itself(tmp_path):
    source = opened(table(tmp_path, [("a", "x", "Heat"), ("b", "x", "Heat"), ("b", "y", "")], "user,item,title"))
    assert list(source.relation.answers.keys) == ["Heat", "y"]


def test_rows_that_cannot_be_used_and_repeated_pairs_are_listed(tmp_path):
    rows = [("a", "x", 3, 1), ("", "x", 3, 2), ("a", "", 3, 3), ("a", "y", "good", 4), ("a", "y", 3, "soon")]
    source = opened(table(tmp_path, [*rows, ("a", "x", 4, 6), ("b", "y", 2, "2020-01-05")]))
    assert [one.key.split("#")[1] for one in source.skipped] == ["1", "2", "3", "4", "5"]
    assert ["item" in one.reason for one in source.skipped] == [False, True, False, False, True]
    assert named(source, np.arange(len(source))) == {("a", "x"), ("b", "y")}


def test_what_is_rated_too_low_is_left_out(tmp_path):
    assert len(opened(table(tmp_path), min_rating=5)) == sum(row[2] == 5 for row in ROWS)
    with pytest.raises(DataError, match="no interaction can be used"):
        opened(table(tmp_path), min_rating=6)
    with pytest.raises(DataError, match="no column of ratings"):
        opened(table(tmp_path, [row[:2] for row in ROWS], "user,item"), min_rating=3)


def test_a_table_without_items_says_which_columns_it_has(tmp_path):
    with pytest.raises(DataError, match="no column of items: the columns are 'userId', 'rating'"):
        opened(table(tmp_path, [(1, 2), (2, 3)], "userId,rating"))


def test_the_last_fifth_of_each_user_judges_where_times_are_known(tmp_path):
    source = opened(table(tmp_path, ROWS[::-1]))
    learnt, judged = source.split(0)
    assert named(source, judged) == {(str(user), str(item)) for user in range(6) for item in (8, 9)}
    assert sorted([*learnt, *judged]) == list(range(60))


def test_a_random_fifth_of_each_user_is_keyed_by_the_seed(tmp_path):
    source = opened(table(tmp_path), split_by="random")
    parts = [source.split(seed)[1] for seed in (0, 0, 1)]
    assert parts[0].tolist() == parts[1].tolist() != parts[2].tolist()
    assert np.bincount(source.user[parts[0]]).tolist() == [2] * 6


def test_what_else_a_user_had_is_of_the_part_that_is_shown(tmp_path):
    source = opened(table(tmp_path, [("a", i, 1, i) for i in range(5)] + [("b", 0, 1, 0)]))
    some = source.take(np.array([4, 0, 2, 3, 5]))
    assert some.fetch(np.array([0, 2, 4]))[0]["history"].tolist() == [[0, 2, 3], [0, 3, 4], [-1, -1, -1]]
    assert some.relation.queries.fetch(np.array([0, 1]))[0]["history"].tolist() == [[0, 2, 3, 4], [0, -1, -1, -1]]


def test_of_long_histories_the_nearest_before_are_taken_and_for_sequences_none_after(tmp_path):
    source = opened(table(tmp_path, [("a", i, 1, i) for i in range(6)]), history=2)
    rows = np.array([0, 1, 4])
    assert source.fetch(rows)[0]["history"].tolist() == [[1, 2], [0, 2], [2, 3]]
    source.only_before = True
    assert source.fetch(rows)[0]["history"].tolist() == [[-1, -1], [0, -1], [2, 3]]


def test_last_interactions_count_more_and_frequencies_are_shares(tmp_path):
    source = opened(table(tmp_path, [("a", i, 1, i) for i in range(4)] + [("b", 0, 1, 0)]), recency=2)
    weights = source.weights
    assert weights.mean() == pytest.approx(1)
    assert weights[0] / weights[2] == pytest.approx(np.exp(-2 * 2 / 4))
    assert weights[3] == weights[4] == weights.max()
    np.testing.assert_allclose(np.exp(source.log_q), [[0.8] * 4 + [0.2], [0.4, 0.2, 0.2, 0.2, 0.4]], rtol=1e-6)


def test_other_data_has_the_numbers_of_the_encoder_and_its_unknown_items_are_listed(tmp_path):
    config = {
        "users": ["a", "b"],
        "items": ["x", "y"],
        "titles": None,
        "history": 5,
        "recency": 0.0,
        "encoder": "history",
    }
    source = opened(table(tmp_path, [("b", "y"), ("c", "x"), ("a", "z"), ("d", "y")], "user,item")).suited(config)
    assert source.item.tolist() == [1, 0, 1]
    assert source.user[0] == 1
    assert sorted(source.user[1:]) == [2, 3]
    assert [one.reason for one in source.skipped] == ["the encoder does not know this item"]
