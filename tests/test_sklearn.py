"""The scikit-learn transformer."""

import pickle
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import check_estimator

from nearfar.errors import UserError
from nearfar.sklearn import ContrastiveEncoder

Options = dict[str, Any]
SMALL: Options = {"steps": 3, "random_state": 0, "options": {"hidden": 8, "layers": 1}}


@pytest.fixture
def rows() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(40, 3))


@pytest.fixture
def frame() -> Any:
    pd = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "class": rng.choice(["u", "v"], 40),  # a name that means labels elsewhere
            "when": pd.date_range("2024-01-01", periods=40),
            "x": np.where(np.arange(40) % 5, rng.normal(size=40), np.nan),
            "yes": np.arange(40) % 2 == 0,
        }
    )


def test_all_checks_of_scikit_learn_pass() -> None:
    found = check_estimator(ContrastiveEncoder(**{**SMALL, "random_state": None}), on_skip=None)
    assert {one["check_name"] for one in found if one["status"] != "passed"} <= {"check_array_api_input"}
    assert len(found) > 40


def test_the_same_seed_gives_the_same_vectors_and_another_others(rows: np.ndarray) -> None:
    one, same, other = (ContrastiveEncoder(**{**SMALL, "random_state": s}).fit_transform(rows) for s in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert not np.allclose(one, other)


def test_pickles_hold_weights_and_no_module(rows: np.ndarray) -> None:
    model = ContrastiveEncoder(**SMALL).fit(rows)
    written = pickle.dumps(model)
    assert b"torch" not in written
    np.testing.assert_array_equal(pickle.loads(written).transform(rows), model.transform(rows))


def test_it_is_quiet(rows: np.ndarray, capfd: pytest.CaptureFixture[str]) -> None:
    empty = np.column_stack([rows, np.full(40, np.nan)])
    ContrastiveEncoder(**SMALL).fit(empty).transform(empty)
    assert capfd.readouterr() == ("", "")


def test_frames_of_all_kinds_of_columns_are_rows(frame: Any) -> None:
    model = ContrastiveEncoder(**SMALL).set_output(transform="pandas").fit(frame)
    found = model.transform(frame.iloc[:7])
    assert found.shape == (7, model.encoder_.dim)
    assert list(found.columns) == list(model.get_feature_names_out())
    kinds = [(column.values, column.dates) for column in model.encoder_.columns]
    assert kinds == [(("u", "v"), ""), (None, "year first"), (None, ""), (("False", "True"), "")]
    assert model.transform(frame.assign(**{"class": None, "when": None, "x": np.nan, "yes": None})).shape[0] == 40


def test_it_takes_part_in_a_pipeline_and_a_grid_search(rows: np.ndarray) -> None:
    y = (rows[:, 0] > 0).astype(int)
    pipe = make_pipeline(ContrastiveEncoder(**SMALL), LogisticRegression())
    grid = {"contrastiveencoder__options": [{"bins": 0}, {"bins": 4}], "contrastiveencoder__steps": [1, 2]}
    search = GridSearchCV(pipe, grid, cv=2).fit(rows, y)
    assert search.best_score_ > 0.7
    assert clone(pipe).get_params()["contrastiveencoder__steps"] == 3


def test_a_method_that_learns_from_labels_learns_from_all_of_y(rows: np.ndarray, frame: Any) -> None:
    y = np.where(rows[:, 0] > 0, "yes", "no")
    for x in (rows, frame):
        model = ContrastiveEncoder(**SMALL, method="supcon").fit(x, y)
        assert (model.encoder_.config["labels_used"], model.encoder_.config["holds_out"]) == (True, False)
    with pytest.raises(ValueError, match="requires y to be passed"):
        ContrastiveEncoder(**SMALL, method="supcon").fit(rows)


def test_images_are_arrays_of_them() -> None:
    images = np.random.default_rng(0).integers(0, 255, (12, 16, 16)).astype(np.uint8)
    options = {"image_size": 16, "width": 4}
    model = ContrastiveEncoder(modality="image", encoder="small_cnn", steps=1, options=options, random_state=0)
    assert model.fit_transform(images).shape == (12, model.encoder_.dim)
    with pytest.raises(ValueError, match="Images are arrays"):
        model.fit(images[0])


@pytest.mark.parametrize(
    ("wrong", "error"),
    [({"steps": 0}, ValueError), ({"method": "simclrr"}, UserError), ({"options": {"bin": 3}}, UserError)],
)
def test_wrong_settings_are_refused(rows: np.ndarray, wrong: Options, error: type[Exception]) -> None:
    with pytest.raises(error):
        ContrastiveEncoder(**{**SMALL, **wrong}).fit(rows)


def test_an_unfitted_encoder_says_so(rows: np.ndarray) -> None:
    with pytest.raises(NotFittedError):
        ContrastiveEncoder().transform(rows)
