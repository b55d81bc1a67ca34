"""The odd views of a batch may show a positive that the user gives: of the same group, or by name."""

from typing import Any

import numpy as np

from nearfar.contract import Rows, Views
from nearfar.training.loader import Loader
from nearfar.training.order import Order
from nearfar.training.positives import Against, Given, OfGroup, Paired, against, alternating, linked

GROUPS = np.array([7, 3, 7, 5, 3, 7, 9])


class Numbers:
    """A source whose samples are their row numbers; `bad` ones cannot be read."""

    def __init__(
        self, groups: Any = GROUPS, bad: tuple[int, ...] = (), partners: Any = None, opposites: Any = None
    ) -> None:
        self.groups = groups
        self.ids = np.arange(len(groups))
        self.bad = set(bad)
        self.known: set[int] = set()
        self.partners = partners
        self.opposites = opposites

    @property
    def positives(self) -> Any:
        return self._named(self.partners)

    def drawn_positives(self, rows: Rows, draws: Rows, seed: int) -> Any:
        return self.positives, rows

    @property
    def negatives(self) -> Any:
        return self._named(self.opposites)

    def drawn_negatives(self, rows: Rows, draws: Rows, seed: int) -> Any:
        return self.negatives, rows

    def _named(self, numbers: Any) -> Any:
        other = Numbers(self.groups, tuple(self.bad))
        own = np.arange(len(self.groups))
        other.ids = np.where(np.isin(numbers, list(self.known)), own, numbers)
        other.known = self.known
        return other

    def fetch(self, rows: Rows) -> tuple[Any, Rows]:
        lost = [row for row in rows.tolist() if self.ids[row] in self.bad]
        self.known |= {int(self.ids[row]) for row in lost}
        kept = np.array([row for row in rows.tolist() if row not in lost], dtype=np.int64)
        return self.ids[kept], kept


def of_group(source: Any, seed: int = 0) -> OfGroup:
    return OfGroup(source, seed)


def test_a_partner_is_another_sample_of_the_group() -> None:
    rows = np.tile(np.arange(7), 50)
    partners = of_group(Numbers()).partners(rows, np.arange(len(rows)))
    assert (GROUPS[partners] == GROUPS[rows]).all()
    alone = np.isin(GROUPS[rows], [5, 9])
    assert ((partners == rows) == alone).all()


def test_all_others_of_a_group_are_drawn_evenly() -> None:
    groups = np.zeros(5, dtype=np.int64)
    partners = of_group(Numbers(groups)).partners(np.full(4000, 2), np.arange(4000))
    counts = np.bincount(partners, minlength=5)
    assert counts[2] == 0
    assert (np.abs(counts[[0, 1, 3, 4]] - 1000) < 4 * np.sqrt(4000 * 0.25 * 0.75)).all()


def test_a_partner_belongs_to_its_draw_and_not_to_its_place() -> None:
    positives = of_group(Numbers())
    rows, draws = np.array([0, 2, 5, 1]), np.array([11, 12, 13, 14])
    whole = positives.partners(rows, draws)
    assert positives.partners(rows[::-1], draws[::-1]).tolist() == whole[::-1].tolist()
    many = np.zeros(64, dtype=np.int64)
    assert (
        of_group(Numbers(), 1).partners(many, np.arange(64)).tolist()
        != positives.partners(many, np.arange(64)).tolist()
    )


def test_samples_of_a_group_are_no_negatives_of_each_other() -> None:
    rows = np.arange(7)
    ids = of_group(Numbers()).beside(rows, rows, rows).shown.ids
    same = ids[:, None] == ids[None, :]
    assert (same == (GROUPS[:, None] == GROUPS[None, :])).all()


def test_equal_content_joins_groups() -> None:
    source = Numbers()
    source.ids = np.array([0, 1, 2, 3, 4, 5, 1])  # sample 6, of group 9, shows what sample 1, of group 3, shows
    ids = of_group(source).beside(np.arange(7), np.arange(7), np.arange(7)).shown.ids
    assert ids[6] == ids[1] == ids[4]
    assert len(set(ids.tolist())) == 3


def test_a_sample_stands_in_for_its_unreadable_partner() -> None:
    groups = np.array([0, 0, 1, 1])
    paired = of_group(Numbers(groups, bad=(1,))).beside(None, np.array([0, 2]), np.array([0, 1]))
    assert paired.other.tolist() == [0, 3]


def test_a_named_positive_is_fetched_beside_its_sample() -> None:
    partners = np.array([3, 1, 0, 3, 6, 5, 6])
    paired = Given(Numbers(partners=partners)).beside(None, np.array([0, 1, 4]), np.array([0, 1, 2]))
    assert paired.other.tolist() == [3, 1, 6]


def test_an_unreadable_positive_gives_way_to_its_sample() -> None:
    paired = Given(Numbers(partners=np.array([3, 2, 2, 3, 4, 5, 6]), bad=(3,))).beside(
        None, np.array([0, 1]), np.array([0, 1])
    )
    assert paired.other.tolist() == [0, 2]


def test_samples_that_share_a_positive_or_are_one_are_no_negatives() -> None:
    partners = np.array([3, 3, 5, 4, 4, 5, 6])
    ids = Given(Numbers(partners=partners)).beside(None, np.array([0, 1, 2, 6]), np.arange(4)).shown.ids
    assert ids[0] == ids[1]
    assert len(set(ids.tolist())) == 3
    ids = Given(Numbers(partners=partners)).beside(None, np.array([2, 5]), np.arange(2)).shown.ids
    assert ids[0] == ids[1]


def test_links_join_chains() -> None:
    found = linked(np.array([1, 2, 3, 8]), np.array([2, 3, 4, 9]))
    assert found[0] == found[1] == found[2] != found[3]


def test_odd_views_are_the_positives_and_keep_their_numbers() -> None:
    made: list[tuple[str, int, int, int]] = []

    def views(name: str) -> Views:
        return Views(lambda number, start, stop: made.append((name, number, start, stop)) or name, range(4), 0, 6, 2)

    found = alternating(views("own"), views("other"))
    assert list(found) == ["own", "other", "own", "other"]
    assert list(found.part(2, 5)[1:3]) == ["other", "own"]
    assert made[-2:] == [("other", 1, 2, 5), ("own", 2, 2, 5)]
    assert found.wide == 2


def test_the_loader_fetches_both_of_a_pair() -> None:
    source = Numbers()
    order = Order(7, 4, seed=0)
    with Loader(source, order, of_group(source)) as loader:  # type: ignore[arg-type]
        raw, rows, draws = loader.get(1)
    assert isinstance(raw, Paired)
    assert raw.own.tolist() == rows.tolist()
    assert raw.other.tolist() == of_group(source).partners(rows, draws).tolist()


# Given negatives.

ROWS = np.array([0, 1, 2, 4])
DRAWS = np.arange(4)
OPPOSITES = np.array([20, 1, 0, 3, 0, 21, 22])  # of each sample; 1 and 3 have none


def given(found: Paired) -> list[bool]:
    assert found.shown.negative_ids is not None
    said: list[bool] = (found.shown.negative_ids != found.shown.ids).tolist()
    return said


def test_negatives_come_beside_the_samples_themselves() -> None:
    found = Against(Numbers(opposites=OPPOSITES), None).beside(ROWS, ROWS, DRAWS)
    assert found.shown.negative_ids is not None
    assert found.other is found.own
    assert found.shown.ids.tolist() == [0, 1, 2, 4]
    assert found.negatives.tolist() == [20, 1, 0, 0]
    assert given(found) == [True, False, True, True]
    assert found.shown.negative_ids.tolist() == [20, 1, 0, 0]


def test_a_negative_is_named_as_what_is_shown_in_the_batch() -> None:
    """Sample 0 shows 0 and its positive 30, both named 0; 30 as a negative of 2 is the same thing."""
    partners = np.array([30, 1, 2, 3, 4, 5, 6])
    opposites = np.array([30, 40, 30, 3, 0, 5, 6])
    source = Numbers(partners=partners, opposites=opposites)
    found = Against(source, Given(source)).beside(ROWS, ROWS, DRAWS)
    assert found.shown.negative_ids is not None
    assert found.shown.ids.tolist() == [0, 1, 2, 4]
    assert found.shown.negative_ids.tolist() == [0, 40, 0, 0]
    assert given(found) == [False, True, True, True]  # 0's negative is its own positive


def test_negatives_that_are_in_the_samples_group_are_named_by_it() -> None:
    source = Numbers(opposites=np.array([2, 0, 1, 3, 1, 5, 6]))
    found = Against(source, of_group(source)).beside(ROWS, ROWS, DRAWS)
    assert found.shown.negative_ids is not None
    assert found.shown.ids[0] == found.shown.ids[2]
    assert found.shown.ids[1] == found.shown.ids[3]
    assert found.shown.negative_ids.tolist() == found.shown.ids[[2, 0, 1, 1]].tolist()
    assert given(found) == [False, True, True, False]


def test_an_unreadable_negative_is_none() -> None:
    found = Against(Numbers(opposites=OPPOSITES, bad=(20,)), None).beside(ROWS, ROWS, DRAWS)
    assert found.shown.negative_ids is not None
    assert given(found) == [False, False, True, True]
    assert found.negatives.tolist() == [0, 1, 0, 0]


def test_the_last_wide_view_is_of_the_negative() -> None:
    def views(name: str) -> Views:
        return Views(lambda number, start, stop: f"{name}{number}[{start}:{stop}]", range(4), 0, 5, wide=3)

    found = against(alternating(views("own"), views("other")), views("negative"))
    assert list(found) == ["own0[0:5]", "other1[0:5]", "negative2[0:5]", "other3[0:5]"]
    assert found.part(1, 3)[2] == "negative2[1:3]"
