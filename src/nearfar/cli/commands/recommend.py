"""`nearfar recommend`."""

import json
from dataclasses import dataclass
from typing import Any

from nearfar.cli.form import Form, Result, argument, device_option, threads_option
from nearfar.cli.output import columns
from nearfar.errors import ConfigError
from nearfar.options import option

_LAST = 3
"""Items of those that a user had that are shown."""


@dataclass(frozen=True, kw_only=True)
class Recommend(Form):
    """What users may want next, of a run on data of users and items: nothing that they have had.

    A user is a name of the data, or somebody new by what was had, as JSON: '{"history": ["Heat (1995)"]}'.
    """

    run: str = argument("Folder of a run.", needed=True, path="input")
    user: tuple[str, ...] = argument("Names of users, or mappings as JSON.", needed=True, many=True)
    k: int = option(10, "Items for each user.", short="-k", least=1, local=True)
    device: str | None = device_option()
    threads: int | None = threads_option()

    def call(self, api: Any, given: dict[str, Any]) -> Result:
        """Recommend to each user."""
        found = api.recommend(self.run, [_user(word) for word in self.user], self.k, **given)
        text = []
        for one in found:
            text.append(one.query + (f" ({one.note})" if one.note else ""))
            if one.had:
                last = "; ".join(item.title or item.key for item in one.had[:_LAST])
                text.append(f"  had {len(one.had)}, last {last}")
            text.append(columns((f"  {item.score:.3f}", item.key, item.title) for item in one.items))
        users = [{"user": one.query, "note": one.note, "had": len(one.had), "items": one.items} for one in found]
        return {"run": self.run, "users": users}, "\n".join(text)


def _user(word: str) -> Any:
    """A user as the api takes it: a name, or what JSON says."""
    if not word.lstrip().startswith("{"):
        return word
    try:
        return json.loads(word)
    except ValueError as error:
        raise ConfigError(f"The user {word:.100} is no JSON: {error}.") from None
