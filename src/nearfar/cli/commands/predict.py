"""`nearfar predict`."""

from dataclasses import dataclass
from typing import Any

from nearfar.cli.form import DATA, Form, Result, argument, cache_option, device_option, threads_option
from nearfar.options import automatic, option


@dataclass(frozen=True, kw_only=True)
class Predict(Form):
    """Write what a fine-tuned run says of each sample of DATA: its class, and how probable each is, its mask, or boxes.

    Samples that cannot be read are left out, and listed in skipped.csv beside what is written.
    """

    run: str = argument("Folder of a run of nearfar finetune.", needed=True, path="input")
    data: str = argument(DATA, needed=True, path="data")
    out: str = automatic(
        "What is written: a .csv, .jsonl or .parquet of classes; a folder of masks; a .json or a folder of boxes.",
        short="-o",
        path="output",
        needed=True,
        local=True,
    )
    batch_size: int | None = option(None, "Samples at once.", least=1)
    cache: str = cache_option()
    device: str | None = device_option()
    threads: int | None = threads_option()

    def call(self, api: Any, given: dict[str, Any]) -> Result:
        """Predict."""
        made = api.predict_file(self.run, self.data, self.out, **given)
        left = f"; {made.skipped} samples could not be read (skipped.csv)" if made.skipped else ""
        text = f"{made.samples} predictions in {made.path}{left}"
        shares = {name: count for name, count in made.counts.items()}
        lines = [text, *(f"  {name}: {count}" for name, count in list(shares.items())[:10])]
        if made.accuracy is not None:
            lines.append(f"{100 * made.accuracy:.1f} % of the {made.labelled} samples with a label are named rightly")
        found = {"out": made.path, "samples": made.samples, "skipped": made.skipped, "counts": shares}
        return {**found, "labelled": made.labelled, "accuracy": made.accuracy}, "\n".join(lines)

    def outputs(self) -> list[str]:
        """Where it writes."""
        return [self.out]
