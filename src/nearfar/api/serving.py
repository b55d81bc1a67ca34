"""A page on this machine to search by: typed words, keys and dropped files.

It listens on 127.0.0.1 alone, answers no other host's name, takes questions from its own page only, and opens no path
that a request names: a request has keys, words, or the content of a file.
"""

import json
import logging
import os
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from nearfar.api.queries import Query
from nearfar.api.searcher import Searcher, searcher_of
from nearfar.errors import ConfigError, DataError, NearfarError
from nearfar.files import plain, to_json

if TYPE_CHECKING:
    from nearfar.inspection.search.index import Kind

PORT = 8420
_TRIED = 20
"""Ports that are tried from the usual one on, where none was asked for."""
_LARGEST = 2**25
"""Bytes of a request."""
_MOST_HITS = 200
_log = logging.getLogger("nearfar")


def serve(
    run: str | os.PathLike[str],
    within: str | os.PathLike[str] | None = None,
    *,
    port: int | None = None,
    index: "Kind" = "auto",
    device: str | None = None,
) -> None:
    """Serve a page to search by at http://127.0.0.1:PORT, for this machine alone, until it is interrupted.

    The arguments are those of `search_run`; the port is 8420 or the next free one where it is not given. Raises
    UserError.
    """
    searcher = searcher_of(run, within, device=device, index=index)
    with Server(searcher, title=Path(os.fspath(within or run)).name or "search", port=port) as server:
        _log.info("search at %s (Ctrl-C ends it)", server.address)
        try:
            server.serve_forever(poll_interval=0.2)
        except KeyboardInterrupt:
            _log.info("the search page has ended")


class Server(ThreadingHTTPServer):
    """Answers the page's questions by one searcher, one question at a time."""

    daemon_threads = True

    def __init__(self, searcher: Searcher, *, title: str, port: int | None = None) -> None:
        self.searcher = searcher
        self.title = title
        self.lock = threading.Lock()
        tried = [port] if port is not None else [*range(PORT, PORT + _TRIED), 0]
        for number in tried:
            try:
                super().__init__(("127.0.0.1", number), _Handler)
                break
            except OSError as error:
                if number == tried[-1]:
                    raise ConfigError(
                        f"The port {number} cannot be used: {error.strerror}; give another by --port."
                    ) from None
        self.port: int = self.server_address[1]

    @property
    def address(self) -> str:
        """The page's address."""
        return f"http://127.0.0.1:{self.port}/"

    @property
    def hosts(self) -> set[str]:
        """What requests may call this machine."""
        return {f"{name}:{self.port}" for name in ("127.0.0.1", "localhost")}

    def page(self) -> str:
        """The page to search by."""
        from nearfar.reporting import search_page

        index, encoder = self.searcher.index, self.searcher.encoder
        columns = index.rows.column_names
        texts = encoder is not None and encoder.typed("{}") is not None
        live = {
            "samples": len(index),
            "columns": columns,
            "most": _LARGEST,
            "endings": sorted(encoder.files) if encoder is not None else [],
            "takes": "words, a row as JSON, or a key" if texts else "a key of a sample, or a vector as JSON",
            "example": _example(index.rows),
        }
        return search_page.served(self.title, live)

    def answer(self, asked: "list[Query]", k: int, where: str) -> dict[str, Any]:
        """What is found for queries, as the page shows it; raises UserError."""
        from nearfar.reporting import search_page

        if not 1 <= k <= _MOST_HITS:
            raise ConfigError(f"At most {_MOST_HITS} samples are shown, got {k}.")
        began = time.perf_counter()
        found = self.searcher.hits(asked, k, where or None)
        milliseconds = round(1000 * (time.perf_counter() - began), 1)
        found = self.searcher.with_texts(found)
        cards = iter(self.searcher.cards(hit for hits in found for hit in hits))
        rows = [
            (self.searcher.card(query), [(next(cards), hit.similarity) for hit in hits])
            for query, hits in zip(asked, found, strict=True)
        ]
        abouts = [[hit.about for hit in hits] for hits in found]
        return {**search_page.results(rows, abouts), "milliseconds": milliseconds}

    def by_words(self, asked: dict[str, Any]) -> dict[str, Any]:
        """The answer to a question with a key, or with words: a text, a row or vector as JSON, or a key."""
        key, words = asked.get("key"), asked.get("query")
        index = self.searcher.index
        if isinstance(key, str):
            if (row := index.row_of(key)) is None:
                raise DataError(f"There is no sample with the key {key!r:.100}.")
            queries = [Query(key, index.vectors[row].numpy(), key=key)]
        elif isinstance(words, str):
            queries = self.searcher.queries(words, files=False)
        else:
            raise DataError("A question has a key or a query.")
        return self.answer(queries, _whole(asked.get("k")), str(asked.get("where") or ""))

    def by_file(self, content: bytes, ending: str, k: int, where: str) -> dict[str, Any]:
        """The answer to a file that was dropped: only its content and its ending are used."""
        encoder = self.searcher.encoder
        if encoder is None or ending not in encoder.files:
            known = ", ".join(sorted(encoder.files)) if encoder is not None else ""
            raise DataError(f"A file that ends in {ending!r:.20} is no sample for this encoder: {known or 'none is'}.")
        with tempfile.TemporaryDirectory(prefix="nearfar-") as folder:
            path = os.path.join(folder, f"query{ending}")
            Path(path).write_bytes(content)
            vector = encoder.encode(path)
            return self.answer([Query(f"query{ending}", vector, file=path)], k, where)


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "nearfar", ""
    timeout = 30

    def do_GET(self) -> None:
        """The page; there is nothing else."""
        if not self._is_ours():
            return
        if urlsplit(self.path).path != "/":
            self._send(404, b"There is only the page at /.", "text/plain; charset=utf-8")
            return
        self._send(200, self.server.page().encode(), "text/html; charset=utf-8")

    def do_POST(self) -> None:
        """A question."""
        if not self._is_ours(question=True):
            return
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > _LARGEST:
            self.close_connection = True
            self._say(413, f"A question of at most {_LARGEST} bytes is taken.")
            return
        content = self.rfile.read(int(length))
        asked = urlsplit(self.path)
        try:
            with self.server.lock:
                if asked.path == "/search":
                    found = self.server.by_words(_object(content))
                elif asked.path == "/file":
                    named = {name: values[0] for name, values in parse_qs(asked.query).items()}
                    found = self.server.by_file(
                        content, named.get("ending", ""), _whole(named.get("k")), named.get("where", "")
                    )
                else:
                    self._say(404, "There is nothing at this address.")
                    return
        except NearfarError as error:
            self._say(400, str(error))
        except Exception:
            _log.exception("a question of the search page failed")
            self._say(500, "Sorry, this should not have happened: the terminal says more.")
        else:
            self._send(200, to_json(plain(found)).encode(), "application/json")

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are logged for those who look for them."""
        _log.debug(format, *args)

    def _is_ours(self, *, question: bool = False) -> bool:
        """Whether a request is for this machine and, a question, from the page: other sites can send neither."""
        host, origin = self.headers.get("Host", ""), self.headers.get("Origin")
        mine = host in self.server.hosts and origin in (None, f"http://{host}")
        if mine and (not question or self.headers.get("X-Nearfar") == "1"):
            return True
        self.close_connection = True
        self._say(403, f"This page is for this machine alone: open {self.server.address}")
        return False

    def _say(self, status: int, error: str) -> None:
        self._send(status, to_json({"error": error}).encode(), "application/json")

    def _send(self, status: int, content: bytes, kind: str) -> None:
        self.send_response(status)
        for name, value in (
            ("Content-Type", kind),
            ("Content-Length", str(len(content))),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            ("X-Frame-Options", "DENY"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
            ("Connection", "close" if self.close_connection else "keep-alive"),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


def _object(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise DataError("A question is a JSON object.")
    return found


def _whole(value: Any) -> int:
    text = str(20 if value is None else value)
    if not text.isdecimal() or len(text) > 6:
        raise ConfigError(f"The number of samples must be a whole number, got {text!r:.20}.")
    return int(text)


def _example(rows: Any) -> str:
    """A condition that fits the columns, to show how they are written."""
    import pyarrow as pa

    for name in rows.column_names:
        kind = rows[name].type
        if name != "key" and name.isidentifier() and (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            first = next((cell for cell in rows[name].slice(0, 100).to_pylist() if cell and len(cell) < 30), None)
            if first is not None:
                return f'{name} == "{first}"'
    return '"cat" in key'
