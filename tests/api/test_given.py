"""A user's own parts: a network, a method, a function that makes views, and data that are objects."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision.transforms import v2

import nearfar
from nearfar.api.run import Run
from nearfar.errors import ConfigError
from nearfar.methods.options import SimCLROptions
from nearfar.methods.simclr import SimCLR

SETTINGS: dict[str, Any] = {
    "batch_size": 32, "threads": 1, "precision": "fp32", "quiet": True, "steps": 6, "image_size": 16, "knn_every": 0.0,
    "evaluate": False,
}  # fmt: skip


class Net(nn.Module):
    """Maps `[n, 12, 5, 5]` of grey pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(1, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 12, 3))

    def forward(self, x: Tensor) -> Any:
        return self.layers(x)


class Colder(SimCLR):
    """SimCLR by another name."""


def transform() -> v2.Transform:
    scaled = v2.ToDtype(torch.float32, scale=True)
    return v2.Compose([v2.RandomResizedCrop(16, scale=(0.4, 1)), v2.RandomRotation(10), scaled])


def train(out: Path, **parts: Any) -> Run:
    return nearfar.train(out=out, **(SETTINGS | {"data": "digits:test"} | parts))


@pytest.fixture(scope="module")
def net() -> Net:
    torch.manual_seed(0)
    return Net()


@pytest.fixture(scope="module")
def run(net: Net, tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("given") / "run"
    return train(out, encoder=net, method=Colder, views=transform())


def test_a_run_with_ones_own_network_method_and_views_says_what_it_was_given(run: Run, net: Net) -> None:
    text = (run.path / "config.toml").read_text()
    for option, name in (("encoder", "Net"), ("method", "Colder"), ("views", "Compose")):
        assert f'{option} = "given as an object: {name}"' in text
    assert run.encoder.dim == 12  # by what it makes of real pictures
    torch.manual_seed(0)
    assert all(torch.equal(one, other) for one, other in zip(net.parameters(), Net().parameters(), strict=True))
    trained = run.encoder.get_submodule("network.module")
    assert not torch.equal(next(trained.parameters()), next(net.parameters()))


def test_its_encoder_is_loaded_into_a_network_like_it(run: Run) -> None:
    picture = np.arange(64, dtype=np.uint8).reshape(8, 8)
    encoder = nearfar.load(run.path, encoder=Net())
    assert np.array_equal(encoder.encode(picture), run.encoder.encode(picture))
    assert "untrained encoder" in {row.system for row in nearfar.evaluate(encoder, "digits:test").rows}
    with pytest.raises(ConfigError, match=r"is a network of your own \(Net\): give one like it"):
        nearfar.load(run.path)


def test_what_is_no_encoder_is_named_with_what_to_give(run: Run) -> None:
    with pytest.raises(ConfigError, match="got the class Net: give an object of it"):
        nearfar.load(run.path, encoder=Net)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"or the folder of a run, got Run: give its \.encoder or \.path"):
        nearfar.evaluate(run, "digits")  # type: ignore[arg-type]


def test_it_goes_on_where_the_objects_are_given_again(
    run: Run, net: Net, tmp_path: Path, stop_at: Callable[..., None], same_end: Any
) -> None:
    stop_at(3)
    parts: dict[str, Any] = {"encoder": net, "method": Colder, "views": transform()}
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "run", **parts)
    for option, what in (("method", "the class of its method"), ("encoder", "the network"), ("views", "the function")):
        kept = {name: part for name, part in parts.items() if name != option}
        with pytest.raises(ConfigError, match=f"{what}.* as an object .*give it again, as {option}=..."):
            nearfar.train(out=tmp_path / "run", resume=True, evaluate=False, quiet=True, **kept)
    nearfar.train(out=tmp_path / "run", resume=True, evaluate=False, quiet=True, **parts)
    same_end(run.path, tmp_path / "run")


def test_views_are_those_of_a_sample_s_key_whatever_the_batch(run: Run) -> None:
    from nearfar.contract import Requirements
    from nearfar.modalities import registry
    from nearfar.modalities.opening import open_source
    from nearfar.modalities.own_views import own_views

    modality = registry.load("image")
    source = open_source(modality, "digits:test", config=run.encoder.config)

    def made(function: Any, rows: list[int], draws: list[int]) -> Any:
        raw, _ = source.fetch(np.array(rows))
        key: dict[str, Any] = {"requires": Requirements(), "seed": 0, "encoder": run.encoder}
        return own_views(function, modality, raw, np.array(draws), **key)

    torch.manual_seed(0)
    one = made(transform(), [3, 1, 4], [10, 11, 12])
    state = torch.get_rng_state()
    first = one[0]
    assert torch.equal(torch.get_rng_state(), state)
    other = made(transform(), [4, 3], [12, 10])
    assert torch.equal(other[0][1], first[0])
    assert torch.equal(other.part(0, 1)[0][0], first[2])
    assert not torch.equal(one[1], first)

    def batch(pictures: Tensor) -> Tensor:
        assert pictures.shape == (3, 1, 8, 8)
        assert pictures.dtype == torch.uint8
        return pictures

    batch.per_batch = True  # type: ignore[attr-defined]
    plain = made(batch, [3, 1, 4], [0, 1, 2])[0]  # bytes are normalised as the encoder has them
    assert plain.dtype == torch.float32
    assert abs(float(plain.mean())) < 1
    with pytest.raises(ConfigError, match="one kind and size"):
        made(lambda picture: picture[:, : int(picture[0, 0, 2]) % 3 + 2], [3, 1, 4, 7, 8], [0, 1, 2, 3, 4])[0]


def test_of_a_method_the_class_and_its_options_are_taken(run: Run) -> None:
    made = Colder(run.encoder, SimCLROptions(temperature=0.3, variant="decoupled"))
    from nearfar import given

    with given.holding() as hold:
        options = given.adopted({"method": made, "temperature": 0.7}, hold)
        assert options["temperature"] == 0.7
        assert options["variant"] == "decoupled"
        assert given.get("method", options["method"]) is Colder


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"encoder": nn.Linear(3, 4)}, r"Linear cannot read inputs \[2, 1, 16, 16\]"),
        ({"encoder": nn.Conv1d(1, 1, 1)}, "Conv1d cannot read inputs"),
        ({"encoder": nn.Flatten(0)}, r"Flatten gives a tensor \[512\]"),
        ({"encoder": Net(), "width": 8}, "width has no meaning for a network of one's own"),
        ({"encoder": 7}, "encoder must be a name or a torch.nn.Module, got int"),
        ({"encoder": Net}, "got the class Net: give an object of it"),
        ({"method": 7}, "method must be a name, a nearfar.contract.Method or its class, got int"),
        ({"method": Net()}, "Method or its class, got Net"),
        ({"views": 7}, "views must be a function"),
        ({"views": lambda picture: None}, "views gives NoneType: a view is a tensor"),
        ({"views": lambda picture: picture[0]}, r"a view of a picture is \[1, h, w\]"),
    ],
)
def test_parts_that_do_not_fit_are_refused_before_training(parts: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        train(tmp_path / "run", **({"encoder": "small_cnn"} | parts))


class Pictures(torch.utils.data.Dataset[Any]):
    """Twelve pictures with labels; the fourth cannot be read."""

    def __init__(self, item: Callable[[np.ndarray[Any, Any], int], Any]) -> None:
        self.item = item
        self.bad = 3

    def __len__(self) -> int:
        return 12

    def __getitem__(self, i: int) -> Any:
        if i == self.bad:
            raise RuntimeError("bad disk")
        return self.item(np.random.default_rng(i).integers(0, 256, (10, 14, 3), dtype=np.uint8), i % 2)


def opened(data: Any) -> Any:
    """The source that `train` would read data by."""
    from nearfar import given
    from nearfar.modalities import registry
    from nearfar.modalities.opening import open_source

    with given.holding() as hold:
        name = hold("data", data)
        return open_source(registry.load(registry.find(name)), name, least=2)


def rgb(n: int = 12) -> np.ndarray[Any, Any]:
    return np.stack([np.random.default_rng(i).integers(0, 256, (10, 14, 3), dtype=np.uint8) for i in range(n)])


def test_pictures_in_any_object_are_the_same_pictures(tmp_path: Path) -> None:
    from PIL import Image

    array = rgb()
    pictures = [Image.fromarray(one) for one in array]
    for i, picture in enumerate(pictures):
        picture.save(tmp_path / f"{i:02}.png")
    wanted = opened(array).fetch(np.array([0, 5]))[0]
    assert wanted.pixels.shape == (2, 3, 10, 10)
    labels = [i % 2 for i in range(12)]
    for data in (
        torch.from_numpy(array),
        torch.from_numpy(array).permute(0, 3, 1, 2),
        (array, labels),
        (array, torch.tensor(labels)),
        list(array),
        pictures,
        sorted(tmp_path.glob("*.png")),
        Pictures(lambda x, y: x),
        Pictures(lambda x, y: (Image.fromarray(x), y)),
        Pictures(lambda x, y: (torch.from_numpy(x).permute(2, 0, 1), torch.tensor(y))),
        Pictures(lambda x, y: {"image": x, "label": ["odd", "even"][y]}),
    ):
        source = opened(data)
        found = source.fetch(np.array([0, 5]))[0]
        assert torch.equal(found.pixels, wanted.pixels)
        assert torch.equal(found.aspect, wanted.aspect)
        assert len(set(source.keys)) == 12
        labelled = isinstance(data, tuple) or (isinstance(data, Pictures) and isinstance(data[0], tuple | dict))
        assert (source.labels is not None) == labelled
        if labelled:
            assert len(source.label_names) == 2
            assert source.labels[[0, 1, 2]].tolist() in ([0, 1, 0], [1, 0, 1])
        if isinstance(data, Pictures):
            assert source.fetch(np.arange(12))[1].tolist() == [0, 1, 2, *range(4, 12)]
            assert [one.reason for one in source.skipped] == ["RuntimeError: bad disk"]
            data.bad = 0
            assert opened(data).fetch(np.array([0, 5]))[1].tolist() == [5]


def test_labels_of_a_dataset_are_its_targets_by_name() -> None:
    data = Pictures(lambda x, y: (x, y))
    data.targets, data.classes = [2] * 6 + [0] * 6, ["ape", "bee", "cat"]  # type: ignore[attr-defined]
    source = opened(data)
    assert [source.label_names[i] for i in source.labels[[0, 11]]] == ["cat", "ape"]


def test_rows_in_any_object_are_the_same_rows() -> None:
    pa = pytest.importorskip("pyarrow")
    rows = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    wanted = opened(rows).vectors()
    columns = {str(i): rows[:, i] for i in range(3)}
    labels = ["odd", "even"] * 10
    frames: list[Any] = [
        torch.from_numpy(rows),
        (rows, labels),
        pa.table(columns),
        pa.table(columns | {"label": labels}),
    ]
    frames += [list(rows), rows.astype(np.float64)]
    for data in frames:
        source = opened(data)
        torch.testing.assert_close(source.vectors(), wanted)
        assert source.labels is None or source.label_names == ("even", "odd")
    assert opened((rows, np.eye(2)[[0, 1] * 10])).labels.tolist() == [0, 1] * 10


def test_a_run_on_objects_is_used_and_goes_on_with_them(tmp_path: Path, stop_at: Any, same_end: Any) -> None:
    data = (rgb(40), np.arange(40) % 2)
    settings = SETTINGS | {"encoder": "small_cnn", "width": 4, "batch_size": 8}
    whole = nearfar.train(data, out=tmp_path / "whole", **settings)
    assert (
        'data = "given as an object: ndarray 40x10x14x3 uint8 with labels"' in (whole.path / "config.toml").read_text()
    )
    stop_at(3)
    with pytest.raises(KeyboardInterrupt):
        nearfar.train(data, out=tmp_path / "run", **settings)
    with pytest.raises(ConfigError, match=r"was given data as an object .* give it again, as data=\.\.\."):
        nearfar.train(out=tmp_path / "run", resume=True, evaluate=False, quiet=True)
    nearfar.train(data, out=tmp_path / "run", resume=True, evaluate=False, quiet=True)
    same_end(whole.path, tmp_path / "run")
    embeddings = nearfar.embed(nearfar.load(tmp_path / "run"), data)
    assert embeddings.vectors.shape == (40, 16)
    assert embeddings.labels == ["0", "1"] * 20
    assert nearfar.evaluate(tmp_path / "run", data).rows


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (["a.png", "b.png"], "taken for paths, and none of these exists"),
        ([("a cat on a mat", "a dog"), ("a",)], "different lengths"),
        (np.zeros(5), r"Arrays of data are numbers \[N, D\]"),
        (np.zeros((5, 2), dtype=object), "Arrays of data are numbers"),
        ((np.zeros((5, 2)), [1, 2]), "2 labels for 5 samples"),
        (iter([1, 2]), "a torch Dataset with a length, got list_iterator"),
        ({"x": [1, 2]}, "a torch Dataset with a length, got dict"),
        (Pictures(lambda x, y: {}["x"]), r"None of the first 12 items .* can be read \(KeyError: 'x'\)"),
        ([], "no samples"),
        (Pictures(lambda x, y: {"picture": x}), "An item of Pictures of 12 has 'picture'"),
    ],
    ids=["paths", "tuples", "vector", "objects", "labels", "iterator", "dictionary", "broken", "empty", "keys"],
)
def test_data_that_is_nothing_to_train_on_is_refused(data: Any, message: str) -> None:
    from nearfar.errors import DataError

    with pytest.raises(DataError, match=message):
        opened(data)


def test_a_network_of_ones_own_embeds_rows(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(40, 3))
    layers = nn.Sequential(nn.Linear(3, 7), nn.ReLU())
    settings = {name: value for name, value in SETTINGS.items() if name != "image_size"} | {"batch_size": 8}
    run = nearfar.train(
        rows, encoder=layers, views=lambda row: row + 0.1 * torch.randn(3), out=tmp_path / "run", **settings
    )
    assert run.encoder.dim == 7
    again = nearfar.load(tmp_path / "run", encoder=layers)
    assert np.array_equal(again.encode(rows[0]), run.encoder.encode(rows[0]))
