"""DATA to a source: the samples are found by what a modality says it reads, for all kinds alike."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from nearfar import given
from nearfar.contract import Opening
from nearfar.errors import DataError

if TYPE_CHECKING:
    from nearfar.contract import Modality, Source, Wanted
    from nearfar.data.samples import Samples


def open_source(
    modality: "Modality",
    data: str,
    *,
    config: Mapping[str, Any] | None = None,
    options: Any = None,
    least: int = 1,
    split: str | None = None,
    label_column: str | None = None,
    group_column: str | None = None,
    domain_column: str | None = None,
    source_domain: str | None = None,
    ignore_columns: Sequence[str] = (),
    about: bool = False,
    annotations: "Wanted | None" = None,
    cache: str = "auto",
    grow: bool = True,
    threads: int | None = None,
) -> "Source":
    """The samples of DATA, ready to be fetched; with the `config` of an encoder, as that one needs them.

    Columns are as for `found`, and those that the config names are known. `options` are those of the modality, by
    default those that `config` names. With `about`, further columns are read for `Source.about`. `cache`, `grow` and
    `threads` are as for `Modality.source`. With `annotations`, the source has those that are wanted. Raises DataError
    where fewer than `least` samples can be used.
    """
    from nearfar.data.samples import with_others

    if options is None:
        options = options_of(modality, config or {})
    reading: dict[str, Any] = {"cache": cache, "grow": grow, "threads": threads}
    known = ("labels_in", "groups_in", "domains_in", "ignored")
    columns: dict[str, Any] = {name: value for name, value in (config or {}).items() if name in known}
    columns |= {
        "split": split,
        "label_column": label_column,
        "group_column": group_column,
        "domain_column": domain_column,
        "source_domain": source_domain or (config or {}).get("source_domain"),
        "ignore_columns": ignore_columns,
        "about": about,
    }
    how = Opening(config=config, options=options, columns=columns, reading=reading)
    data = modality.around(data, annotated=annotations is not None)
    if (own := modality.open(data, how)) is not None:
        check_enough(own.name, len(own.usable), least)
        if annotations is not None:
            own = modality.annotated(own, annotations)
        return own if config is None else suited(own, config, least=least)
    samples = found(modality, data, **columns)
    check_enough(samples.name, len(samples), least)
    count = len(samples)
    if samples.positives is None and samples.negatives is None:
        source = modality.source(samples, options=options, **reading)
    else:
        whole, positives, negatives = with_others(samples)
        source = modality.source(whole, options=options, **reading).with_partners(count, positives, negatives)
    if annotations is not None:
        source = modality.annotated(source, annotations)
    check_enough(source.name, len(source.usable), least)
    return source if config is None else suited(source, config, least=least)


def suited(source: "Source", config: Mapping[str, Any], *, least: int = 1) -> "Source":
    """The same samples as an encoder of this `config` needs them; raises DataError where too few can be used."""
    some = source.suited(config)
    check_enough(some.name, len(some.usable), least)
    return some


def found(
    modality: "Modality",
    data: str,
    *,
    split: str | None = None,
    label_column: str | None = None,
    labels_in: str | None = None,
    group_column: str | None = None,
    groups_in: str | None = None,
    domain_column: str | None = None,
    domains_in: str | None = None,
    source_domain: str | None = None,
    ignore_columns: Sequence[str] = (),
    ignored: Sequence[str] = (),
    about: bool = False,
) -> "Samples":
    """The samples of DATA that the modality reads; nothing of them is read yet. Raises DataError where none are.

    Labels come from `label_column`, else from `labels_in` where there is such a column, else from the usual ones, and
    groups and domains likewise, or domains from folders where one is the `source_domain`. `ignore_columns`, which must
    be there, and those `ignored` are as if they were not.
    """
    from nearfar.data.reader import open_samples, parse_data

    columns: dict[str, Any] = {
        "label_column": label_column,
        "labels_in": labels_in,
        "group_column": group_column,
        "groups_in": groups_in,
        "domain_column": domain_column,
        "domains_in": domains_in,
        "ignore_columns": ignore_columns,
        "ignored": ignored,
        "about": about,
    }
    if given.is_given(data):
        from nearfar.modalities.objects import samples_of

        return samples_of(data, modality, **columns)
    path, asked = parse_data(data, builtins=modality.builtins)
    if path in modality.builtins:
        return replace(modality.builtins[path].read(split or asked), origin=path)
    return open_samples(
        data,
        extensions=modality.extensions,
        columns=modality.columns,
        split=split,
        inline=modality.inline,
        further=modality.further,
        recognise=modality.recognise,
        kind=modality.name,
        builtins=modality.builtins,
        source_domain=source_domain,
        **columns,
    )


def splits(modality: "Modality", data: str) -> list[str]:
    """The names of the parts that DATA itself says it has; none where one of them is asked for."""
    from nearfar.data.reader import parse_data, splits_of

    if given.is_given(data):
        return []
    data = modality.around(data, annotated=False)
    path, asked = parse_data(data, builtins=modality.builtins)
    if asked is not None:
        return []
    if path in modality.builtins:
        return list(modality.builtins[path].splits)
    return splits_of(data, extensions=modality.extensions, columns=modality.columns)


def options_of(modality: "Modality", config: Mapping[str, Any]) -> Any:
    """The modality's options with what the `config` of an encoder says of them."""
    names = [field.name for field in fields(modality.Options) if config.get(field.name) is not None]
    return modality.Options(**{name: config[name] for name in names})


def check_enough(name: str, usable: int, least: int) -> None:
    """Raise DataError where fewer than `least` samples can be used."""
    if usable >= least:
        return
    if not usable:
        raise DataError(f"None of the samples of {name!r} can be used.")
    count = "one usable sample" if usable == 1 else f"{usable} usable samples"
    raise DataError(f"{name!r} has {count}, and {least} are needed: a contrast needs at least two.")
