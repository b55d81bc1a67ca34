"""Folders of the Hugging Face hub, as this machine has them."""

from pathlib import Path

from nearfar.errors import ConfigError, MissingExtra


def folder(name: str, *, fetch: bool) -> Path:
    """The folder of that name, else that of the hub's cache; nothing is fetched unasked. Raises ConfigError."""
    place = Path(name).expanduser()
    if place.is_dir():
        return place
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise MissingExtra(f"There is no folder {name!r}: a name of the hub", "huggingface_hub", "text") from None
    try:
        return Path(
            snapshot_download(name, local_files_only=not fetch, allow_patterns=["*.json", "*.txt", "*.safetensors"])
        )
    except Exception as error:  # of the hub and its cache, much may come
        reason = (
            f" ({' '.join(str(error).split())[:100]})"
            if fetch
            else f": hf:{name}@hub fetches it, and --fetch-weights in training"
        )
        raise ConfigError(
            f"There is no folder {name!r}, and nothing of that name in the cache of the hub{reason}."
        ) from None
