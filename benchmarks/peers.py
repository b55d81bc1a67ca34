"""Train the network of a finished run with another library: what `pretrain.py` compares with.

    python benchmarks/peers.py lightly DATA STEPS RUN
    python benchmarks/peers.py lightly_train DATA STEPS RUN

Both get the run's own network and batch size, the precision that it measured to be the faster one, and its optimiser's
kind; lightly in its documented loop with a loader of two workers and channels_last, lightly-train by its one call. The
last line printed is JSON: the time of the last step, and the batch size.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from nearfar.api.options import from_file
from nearfar.modalities.image.encoder import build

WORKERS = 2


def lightly(data: Path, steps: int, network: nn.Module, dim: int, settings: dict[str, float]) -> None:
    """SimCLR as lightly's own example has it."""
    from lightly.data import LightlyDataset
    from lightly.loss import NTXentLoss
    from lightly.models.modules import SimCLRProjectionHead
    from lightly.transforms import SimCLRTransform

    transform = SimCLRTransform(
        input_size=int(settings["image_size"]),
        cj_strength=settings["views_strength"],
        min_scale=settings["crop_scale"],
        gaussian_blur=settings["blur"],
    )
    loader = torch.utils.data.DataLoader(
        LightlyDataset(input_dir=str(data), transform=transform),
        batch_size=int(settings["batch_size"]),
        shuffle=True,
        drop_last=True,
        num_workers=WORKERS,
        persistent_workers=True,
    )
    model = nn.Sequential(network, SimCLRProjectionHead(dim, 512, 128)).to(memory_format=torch.channels_last).train()
    loss_of = NTXentLoss(temperature=settings["temperature"])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.06, momentum=0.9, nesterov=True, weight_decay=5e-4)
    done = 0
    while done < steps:
        for (first, second), *_ in loader:
            with torch.autocast("cpu", torch.bfloat16, enabled=settings["precision"] == "bf16"):
                z1, z2 = (model(view.to(memory_format=torch.channels_last)) for view in (first, second))
            loss = loss_of(z1.float(), z2.float())
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            done += 1
            if done == steps:
                break


class Wrapped(nn.Module):
    """The network with the names that lightly-train calls a model of one's own by."""

    def __init__(self, network: nn.Module, dim: int) -> None:
        super().__init__()
        self.network = network
        self.dim = dim

    def feature_dim(self) -> int:
        return self.dim

    def forward_features(self, x: Tensor) -> dict[str, Tensor]:
        return {"features": self.network(x)[:, :, None, None]}

    def forward_pool(self, x: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"pooled_features": x["features"]}

    def get_model(self) -> nn.Module:
        return self.network


def lightly_train(data: Path, steps: int, network: nn.Module, dim: int, settings: dict[str, float]) -> None:
    """SimCLR by lightly-train's one call."""
    from lightly_train import pretrain

    size = int(settings["image_size"])
    with tempfile.TemporaryDirectory() as out:
        pretrain(
            out=Path(out) / "run",
            data=data,
            model=Wrapped(network, dim),
            method="simclr",
            batch_size=int(settings["batch_size"]),
            num_workers=WORKERS,
            precision="bf16-mixed" if settings["precision"] == "bf16" else "32-true",
            accelerator="cpu",
            transform_args={"image_size": (size, size), "random_resize": {"min_scale": settings["crop_scale"]}},
            trainer_args={"max_steps": steps},
        )


if __name__ == "__main__":
    name, data, steps, run = sys.argv[1:]
    encoder = build(json.loads((Path(run) / "encoder" / "config.json").read_text()))
    config = from_file(Path(run) / "config.toml")
    {"lightly": lightly, "lightly_train": lightly_train}[name](
        Path(data), int(steps), encoder.network, encoder.dim, config
    )
    print(json.dumps({"last_step": time.time(), "batch_size": config["batch_size"]}))
