"""Groups that stand in the names of files."""

import pytest

from nearfar.data.name_pattern import groups_by
from nearfar.data.reader import open_samples
from nearfar.errors import ConfigError, DataError

PATTERN = "{label}_{group}_{index}"


def test_names_of_one_group_have_one_number():
    keys = ["7/7_theo_3.wav", "2_theo_30.wav", "d.tar#2/2_lucas_0.wav", "odd.wav", "7_theo_3_x.wav"]
    found = groups_by(PATTERN, keys, "d").tolist()
    assert found[0] == found[1]
    assert len(set(found)) == 3 + (found[4] != found[0])


def test_other_signs_stand_for_themselves():
    assert groups_by("a.{group}-{n}", ["a.x-1.wav", "a.x-2.wav", "abx-1.wav"], "d").tolist() == [0, 0, 5]


def test_a_pattern_that_fits_no_name_is_refused():
    with pytest.raises(DataError, match=r"No file of 'd' is named as the pattern .* \(the first is 'a'\)"):
        groups_by(PATTERN, ["x/a.wav"], "d")
    with pytest.raises(ConfigError, match=r"must have \{group\} once"):
        groups_by("{group}_{group}", ["a_a"], "d")


def test_files_of_a_folder_are_grouped(tmp_path):
    for name in ("1_ann_0", "1_bob_0", "2_ann_0"):
        (tmp_path / f"{name}.wav").write_bytes(b"1")
    some = open_samples(str(tmp_path), extensions=frozenset({".wav"}), group_column=PATTERN)
    assert some.groups.tolist() == [0, 1, 0]
    later = open_samples(str(tmp_path), extensions=frozenset({".wav"}), groups_in="{group}-{x}")
    assert later.groups is None
