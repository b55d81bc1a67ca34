"""Published weights that this machine has in the caches of the Hugging Face hub and of torch; none are fetched."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

SUITED = {"cpu": 40_000_000, "": 400_000_000}
"""Bytes of weights up to which more is better, on a processor and elsewhere: what a short run can train."""
_TORCHVISION = re.compile(r"([a-z]\w*?)-[0-9a-f]{8}\.pth")


def suggestion(device: str) -> str | None:
    """The encoder to start from: the largest at hand that suits the device, else the smallest; None where none is."""
    sizes = {name: path.stat().st_size for name, path in _found()}
    if not sizes:
        return None
    most = SUITED.get(device, SUITED[""])
    suited = [name for name in sizes if sizes[name] <= most]
    return max(suited, key=lambda name: sizes[name]) if suited else min(sizes, key=lambda name: sizes[name])


def weights_of(encoder: str) -> Path | None:
    """The file of the weights that the library of a name publishes for it; None where it is in no cache."""
    kind, _, name = encoder.rpartition(":")
    if kind != "torchvision":
        from timm.models import get_pretrained_cfg

        config = get_pretrained_cfg(name)
        encoder = f"timm:{str(config and config.hf_hub_id).removeprefix('timm/')}"
    return dict(_found()).get(encoder)


def _found() -> Iterator[tuple[str, Path]]:
    """Names of encoders, and the files of their weights."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    hub = Path(os.environ.get("HF_HUB_CACHE") or Path(os.environ.get("HF_HOME") or cache / "huggingface") / "hub")
    for folder in sorted(hub.glob("models--timm--*")):
        files = [
            path for path in folder.glob("snapshots/*/*") if path.name in ("model.safetensors", "pytorch_model.bin")
        ]
        if files and files[0].exists():
            yield f"timm:{folder.name.removeprefix('models--timm--')}", files[0]
    torch = Path(os.environ.get("TORCH_HOME") or cache / "torch")
    for path in sorted(torch.glob("hub/checkpoints/*.pth")):
        named = _TORCHVISION.fullmatch(path.name)
        if named and "_coco" not in named[1]:  # detectors and segmenters are no encoders
            yield f"torchvision:{named[1]}", path
