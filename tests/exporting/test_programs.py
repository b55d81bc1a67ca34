"""Programs of torch and ONNX give the encoder's vectors, for any number of samples, and the card's code runs."""

import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import nearfar
from nearfar.contract import Encoder
from nearfar.errors import ConfigError, MissingExtra, OutputError, UnknownName
from nearfar.exporting.card import without_folders
from nearfar.modalities import registry
from nearfar.modalities.audio.encoder import build as audio
from nearfar.modalities.image.encoder import build as pictures
from nearfar.modalities.table.columns import Column, to_config
from nearfar.modalities.table.encoder import TableEncoder
from nearfar.whitening import Whitening

PIXELS = [np.random.default_rng(i).integers(0, 256, (24, 24 + 8 * i, 3), dtype=np.uint8) for i in range(2)]


def finished(encoder, *, whitened=True):
    """An encoder whose batch norms and whitening are not those of a new one."""
    torch.manual_seed(0)
    for module in encoder.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 2)
    if whitened:
        encoder.output = Whitening(encoder.dim).fit(torch.randn(50, encoder.dim) + 0.5)
        encoder.config["whitened"] = True
    return encoder.eval()


def of_pictures(name="resnet8", **more):
    config = {"modality": "image", "encoder": name, "channels": 3, "image_size": 16, "mean": [0.4, 0.5, 0.6]}
    config |= {"std": [0.2, 0.3, 0.4], "stem": "patch", "pool": "stages", "width": 8, **more}
    return finished(pictures(config))


def of_sounds(name="spectrogram_cnn", **more):
    config = {"modality": "audio", "encoder": name, "sample_rate": 8000, "bands": 16, "clip_seconds": 2.0}
    return finished(audio({**config, "view_seconds": 0.2, "mean": -30.0, "std": 12.0, "width": 4, **more}))


def of_rows():
    age = Column("age", median=4.0, mean=4.0, scale=0.5, edges=(1.0, 4.0, 9.0), gaps=True)
    columns = to_config([age, Column("town", values=("Rome", "Oslo"))])
    config = {"modality": "table", "encoder": "mlp", "hidden": 8, "layers": 2, "columns": columns}
    return finished(TableEncoder(config))


def of_texts():
    from nearfar.modalities.text.tokenizer import trained
    from nearfar.modalities.text.transformer import TOKENIZER, Transformer, small

    pytest.importorskip("transformers")
    tokenizer = trained(["one text and another", "that is longer"], 60)
    config = {"modality": "text", "encoder": "transformer", "max_length": 12, "pooling": "mean", "unit": True}
    return finished(Transformer({**config, "architecture": small(60, 64, 1, 12), "files": {TOKENIZER: tokenizer}}))


def run_card(folder, monkeypatch):
    """What the code of a card has computed, in its folder."""
    monkeypatch.chdir(folder)
    (code,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), flags=re.S)
    found = {}
    exec(compile(code, "README.md", "exec"), found)
    return found


@pytest.mark.parametrize("to", ["torch", "onnx"])
@pytest.mark.parametrize("make", [of_pictures, of_sounds, of_rows, of_texts], ids=lambda make: make.__name__)
def test_a_program_gives_the_encoders_vectors(make, to, tmp_path, monkeypatch):
    if to == "onnx":
        pytest.importorskip("onnxruntime")
    encoder = make()
    made = nearfar.export(encoder, to, tmp_path / "out")
    assert made.inside == ["whitening"]
    found = run_card(tmp_path / "out", monkeypatch)
    (program,) = encoder.programs(preprocessing=False).values()
    inputs = [torch.from_numpy(found[name]) for name in program.inputs]
    wanted = encoder.output(program.module(*inputs)).detach().numpy()
    assert torch.as_tensor(found["vectors"]).detach().numpy() == pytest.approx(wanted, abs=1e-3)


def test_texts_become_the_ids_that_the_encoder_makes_of_them(tmp_path, monkeypatch):
    encoder = of_texts()
    nearfar.export(encoder, "torch", tmp_path / "out")
    found = run_card(tmp_path / "out", monkeypatch)
    assert found["vectors"].detach().numpy() == pytest.approx(encoder.encode(found["texts"]), abs=1e-4)


@pytest.mark.parametrize("pooling", ["mean", "cls", "max", "last", "mean_sqrt_len"])
def test_masks_pool_as_lengths_do(pooling):
    encoder = of_texts()
    encoder.config["unit"], encoder._pooling, encoder.output = False, pooling, torch.nn.Identity()
    (program,) = encoder.programs(preprocessing=False).values()
    ids, mask = (one.example for one in program.inputs.values())
    found = program.module(ids, mask)
    torch.testing.assert_close(found, encoder.vectors({"ids": ids, "length": mask.sum(1)}), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [8, 16, 40])
def test_bytes_become_what_the_encoder_sees_of_a_picture(size):
    encoder = of_pictures(image_size=size, stored_size=24)
    (program,) = encoder.programs(preprocessing=True).values()
    square = PIXELS[0]
    found = program.module(torch.from_numpy(square).permute(2, 0, 1)[None])
    torch.testing.assert_close(found, encoder.features(encoder.preprocess([square])), rtol=0.02, atol=0.02)
    wide = torch.from_numpy(PIXELS[1]).permute(2, 0, 1)[None]
    torch.testing.assert_close(program.module(wide), program.module(wide[..., 4:28]), rtol=1e-4, atol=1e-4)


def test_waves_become_the_spectrograms_of_the_encoder():
    for more in ({}, {"normalise": "clip"}):
        encoder = of_sounds(**more)
        (program,) = encoder.programs(preprocessing=True).values()
        waves, lengths = torch.randn(2, 3000).clamp(-1, 1), torch.tensor([3000, 1200])
        waves[1, 1200:] = 0
        wanted = encoder.features(encoder.normalised(*encoder.decibels(waves, lengths)))
        torch.testing.assert_close(program.module(waves, lengths), wanted, rtol=1e-3, atol=1e-3)


def test_windows_behind_the_end_of_a_clip_count_nothing():
    encoder = of_sounds("test_resnet", width=None, bands=32, view_seconds=0.32)
    (program,) = encoder.programs(preprocessing=False).values()
    sound, frames = torch.randn(2, 32, 100), torch.tensor([100, 20])
    wanted = encoder.features({"sound": sound, "frames": frames})
    torch.testing.assert_close(program.module(sound, frames), wanted, rtol=1e-4, atol=1e-4)


def test_cells_go_in_with_preprocessing():
    encoder = of_rows()
    (program,) = encoder.programs(preprocessing=True).values()
    found = program.module(torch.tensor([[3.0, 1.0], [torch.nan, torch.nan]]))
    wanted = encoder.features(encoder.preprocess([{"age": 3, "town": "Oslo"}, {"age": None, "town": None}]))
    torch.testing.assert_close(found, wanted)
    assert program.inputs["cells"].meaning.endswith("age, the number; town as 0 'Rome', 1 'Oslo'")


def test_each_side_of_pairs_is_a_program():
    from nearfar.modalities.pairs.encoder import Routed

    towers = [of_pictures(), of_texts()]
    kinds = ["image", "text"]
    config = {"modality": "pairs", "encoder": "image:resnet8,text:transformer", "joint_width": 4}
    encoder = Routed(towers, kinds, [registry.load(kind) for kind in kinds], config).eval()
    programs = encoder.programs(preprocessing=False)
    assert list(programs) == ["image", "text"]
    pictures = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(programs["image"].module(pictures), encoder.features({"0": pictures}))
    assert '"text-tokenizer.json"' in programs["text"].preparing


def test_bytes_and_whitening_go_inside_by_choice(tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    encoder = of_pictures()
    made = nearfar.export(encoder, "onnx", tmp_path / "both", inside=["preprocessing", "whitening"])
    assert "with the whitening" in made.vectors
    found = run_card(tmp_path / "both", monkeypatch)
    (program,) = encoder.programs(preprocessing=True).values()
    wanted = encoder.output(program.module(torch.from_numpy(found["pixels"]))).detach().numpy()
    assert found["vectors"] == pytest.approx(wanted, abs=1e-3)
    tall = np.random.default_rng(0).integers(0, 256, (1, 3, 50, 21), dtype=np.uint8)
    (vectors,) = found["session"].run(None, {"pixels": tall})
    wanted = encoder.output(program.module(torch.from_numpy(tall))).detach().numpy()
    assert vectors == pytest.approx(wanted, abs=1e-3)
    bare = nearfar.export(encoder, "safetensors", tmp_path / "bare", inside=["none"])
    assert "without the whitening (the last layer of a finished encoder), which was left out" in bare.vectors
    assert bare.vectors in (tmp_path / "bare" / "README.md").read_text()
    run_card(tmp_path / "bare", monkeypatch)
    features = encoder.features(encoder.preprocess(PIXELS)).detach().numpy()
    assert nearfar.load(tmp_path / "bare").encode(PIXELS) == pytest.approx(features, abs=1e-5)


@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        ({"to": "onx"}, UnknownName, "Did you mean 'onnx'"),
        ({"to": "onnx", "inside": ["whitning"]}, UnknownName, "Did you mean 'whitening'"),
        ({"to": "timm", "inside": ["preprocessing"]}, ConfigError, "timm holds no preprocessing .*: torch, onnx can"),
        ({"to": "onnx", "inside": ["whitening"]}, ConfigError, "has no whitening"),
        ({"to": "safetensors", "out": "full"}, OutputError, "no empty folder"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(how, error, message, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    encoder = of_pictures()
    encoder.config["whitened"], encoder.output = False, torch.nn.Identity()
    with pytest.raises(error, match=message):
        nearfar.export(encoder, how["to"], tmp_path / how.get("out", "out"), inside=how.get("inside"))
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


def test_what_needs_code_of_nearfar_has_no_program():
    from nearfar.modalities.text.bag import Bag

    bag = Bag({"modality": "text", "encoder": "bag", "width": 4, "buckets": 8, "max_length": 4})
    with pytest.raises(ConfigError, match="'bag' has no form without nearfar, whose code hashes its words"):
        bag.programs(preprocessing=False)
    with pytest.raises(ConfigError, match="'lightgcn' has no form without nearfar: export it --to safetensors"):
        Encoder.programs(SimpleNamespace(_name="lightgcn"), preprocessing=False)


def test_onnx_names_its_extra_before_anything_is_traced(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtra, match=r"'onnxruntime': pip install 'nearfar\[onnx\]'"):
        nearfar.export(of_pictures(), "onnx", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_an_export_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(ConfigError, match="No program can hold the preprocessing of texts"):
        nearfar.export(of_texts(), "torch", tmp_path / "out", inside=["preprocessing"])
    assert list(tmp_path.iterdir()) == []


def test_the_card_has_the_runs_own_figures_and_settings(tmp_path):
    run = nearfar.train(
        "digits:test", steps=2, encoder="small_cnn", width=4, image_size=8, threads=1, out=tmp_path / "run"
    )
    assert run.evaluation is not None
    nearfar.export(run.path, "safetensors", tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    assert f"{100 * run.evaluation.knn.mean:.1f} ± {100 * run.evaluation.knn.half_width:.1f}" in card
    assert run.evaluation.verdict().sentences[0] in card
    assert "| encoder | small_cnn |" in card
    assert "| steps | 2 |" in card
    assert "Not known." in card
    assert nearfar.load(tmp_path / "out").encode([np.zeros((8, 8), np.uint8)]).shape == (1, run.encoder.dim)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("timm:resnet18@/home/me/w.pth", "timm:resnet18@w.pth"),
        ("st:/home/me/model", "st:model"),
        ("hf:google/vit", "hf:google/vit"),
        ("/home/me/photos:train", "photos:train"),
    ],
)
def test_a_card_says_nothing_of_folders(name, shown):
    assert without_folders(name) == shown
