"""`nearfar explain`."""

from dataclasses import dataclass
from typing import Any

from nearfar.cli.form import Form, Result, argument, device_option, threads_option
from nearfar.cli.output import columns
from nearfar.options import option

_PARTS, _MATCHES = 5, 5


@dataclass(frozen=True, kw_only=True)
class Explain(Form):
    """Why two samples are near: what their parts add to the cosine of their vectors, and which parts meet.

    A sample is a file, FILE#3 for row 3 of a file, a row as JSON, a text where the encoder reads texts, or a key of the
    data given with --in.
    """

    run: str = argument("Folder of a run, or the name of a published encoder.", needed=True, path="input")
    a: str = argument("The one sample.", needed=True, path="input")
    b: str = argument("The other sample.", needed=True, path="input")
    out: str | None = option(None, "The figure, a .png.", short="-o", path="output")
    within: str | None = option(
        None,
        "Data of which A and B are keys; of data with two sides, A of the first and B of the second.",
        spelled="in",
        path="data",
    )
    faithfulness: bool = option(
        False,
        "Measure how the cosine follows the explanation, with parts deleted and inserted in its order, and how much "
        "of it stays with shuffled weights.",
    )
    seed: int = option(0, "Key of the random orders and weights of --faithfulness.", least=0)
    device: str | None = device_option()
    threads: int | None = threads_option()

    def call(self, api: Any, given: dict[str, Any]) -> Result:
        """Explain."""
        found = api.explain(self.run, self.a, self.b, **given)
        lines = [f"cosine {found.similarity:.3f}"]
        for side in (found.a, found.b):
            lines += ["", _line(side.name), *([f"  ({side.parts.note})"] if side.parts.note else [])]
            lines.append(columns(_rows(side)))
        if matches := found.best_matches(_MATCHES):
            names = found.a.parts.names, found.b.parts.names
            lines += ["", f"what meets, by {found.matched_by}"]
            lines.append(columns((f"  {names[0][i]}", names[1][j], f"{value:.4f}") for i, j, value in matches))
        if found.faithfulness:
            lines += [
                "",
                "mean cosine while parts are taken away, most important first, and while they are brought back",
            ]
            heading = ("  order", "deletion", "insertion", "like shuffled weights")
            measured = [
                (f"  {name}", f"{one.deletion:.3f}", f"{one.insertion:.3f}", _alike(found.unlearnt.get(name)))
                for name, one in found.faithfulness.items()
            ]
            lines.append(columns([heading, *measured]))
        if self.out is not None:
            lines += ["", f"figure {self.out}"]
        return {"run": self.run, "out": self.out, **found.to_json()}, "\n".join(lines)

    def outputs(self) -> list[str]:
        """Where it writes."""
        return [] if self.out is None else [self.out]


def _rows(side: Any) -> list[tuple[str, ...]]:
    """The parts that matter most by the last method, with their figures by all."""
    methods = list(side.heat)
    order = sorted(range(len(side.parts)), key=lambda i: -abs(float(side.heat[methods[-1]][i])))
    rows = [(f"  {_line(side.parts.names[i])}", *(f"{float(side.heat[name][i]):+.4f}" for name in methods)) for i in
            order[:_PARTS]]  # fmt: skip
    return [("  part", *methods), *rows]


def _alike(correlation: float | None) -> str:
    return "" if correlation is None else f"{correlation:+.2f}"


def _line(text: str) -> str:
    said = " ".join(text.split())
    return said if len(said) <= 100 else f"{said[:97]}..."
