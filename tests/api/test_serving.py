"""The search page: who may ask, what is answered, and how it is used in a browser."""

import http.client
import io
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from nearfar.api.run import Run
from nearfar.api.searcher import searcher_of
from nearfar.api.serving import Server
from nearfar.errors import ConfigError

ASK = {"X-Nearfar": "1", "Content-Type": "application/json"}


@pytest.fixture(scope="module")
def server(finished: tuple[Path, Run]) -> Iterator[Server]:
    with Server(searcher_of(finished[1].path), title="<b>photos</b>") as made:
        threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield made
        made.shutdown()


def ask(
    server: Server, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
) -> tuple[int, bytes, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    connection.request(method, path, content, headers or {})
    answer = connection.getresponse()
    found = answer.status, answer.read(), dict(answer.getheaders())
    connection.close()
    return found


def said(server: Server, body: Any, path: str = "/search", **headers: str) -> tuple[int, dict[str, Any]]:
    status, content, _ = ask(server, "POST", path, body, {**ASK, **headers})
    return status, json.loads(content)


@pytest.fixture(scope="module")
def key(server: Server) -> str:
    found: str = server.searcher.index.rows["key"][0].as_py()
    return found


def test_it_listens_on_this_machine_alone(server: Server) -> None:
    assert server.socket.getsockname()[0] == "127.0.0.1"


def test_the_page_escapes_its_title_and_asks_nothing_of_the_network(server: Server) -> None:
    status, page, headers = ask(server, "GET", "/")
    assert status == 200
    assert b"<b>photos" not in page
    assert b"connect-src 'self'" in page
    assert (headers["X-Frame-Options"], headers["Cache-Control"]) == ("DENY", "no-store")


def test_a_key_finds_its_sample_with_a_picture(server: Server, key: str) -> None:
    status, found = said(server, {"key": key, "k": 3})
    assert status == 200
    hits = found["results"][0]["hits"]
    assert len(hits) == 3
    assert found["samples"][hits[0]["item"]][0] == key
    assert found["images"][0].startswith("data:image/")


def test_a_condition_limits_what_is_found(server: Server, key: str) -> None:
    _, found = said(server, {"key": key, "k": 40, "where": 'label == "class 1"'})
    assert {found["samples"][hit["item"]][1] for hit in found["results"][0]["hits"]} == {"class 1"}


def test_the_content_of_a_file_is_searched_by(server: Server, finished: tuple[Path, Run]) -> None:
    picture = next((finished[0] / "class 0").iterdir())
    status, found = said(server, picture.read_bytes(), "/file?k=1&ending=.png")
    assert status == 200
    assert found["samples"][found["results"][0]["hits"][0]["item"]][0].startswith("class ")


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "[::1]:{port}", ""]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_other_names_of_hosts_are_refused(server: Server, key: str, host: str, method: str) -> None:
    headers = {**ASK, "Host": host.format(port=server.port)}
    path = "/" if method == "GET" else "/search"
    assert ask(server, method, path, {"key": key} if method == "POST" else None, headers)[0] == 403


@pytest.mark.parametrize("headers", [{"X-Nearfar": ""}, {"Origin": "http://evil.example"}, {"Origin": "null"}])
def test_questions_of_other_pages_are_refused(server: Server, key: str, headers: dict[str, str]) -> None:
    assert said(server, {"key": key}, **headers)[0] == 403


@pytest.mark.parametrize("query", ["/etc/hostname", "{photo}", "{photo}#0", "../photos", "query.npy"])
def test_no_path_of_a_question_is_opened(
    server: Server, finished: tuple[Path, Run], query: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = str(next((finished[0] / "class 0").iterdir()))

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a path was looked at")

    monkeypatch.setattr("os.path.exists", refuse)
    status, found = said(server, {"query": query.format(photo=photo)})
    assert status == 400
    assert "is no key of the embedding, and this encoder takes no texts" in found["error"]


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/search", {}, 400, "a key or a query"),
        ("/search", b"{", 400, "a JSON object"),
        ("/search", b"[" * 100_000, 400, "a JSON object"),
        ("/search", {"key": "no such"}, 400, "no sample with the key"),
        ("/search", {"query": "[1, 2]"}, 400, "was it made by another encoder"),
        ("/search", {"query": "[1, 2]", "k": 10_000}, 400, "another encoder"),
        ("/search", {"key": "{key}", "k": 10_000}, 400, "At most 200"),
        ("/search", {"key": "{key}", "k": -1}, 400, "whole number"),
        ("/search", {"key": "{key}", "where": "labl == 'a'"}, 400, "Did you mean 'label'"),
        ("/file?ending=.csv", b"path\n/etc/hostname", 400, "is no sample for this encoder"),
        ("/file?ending=/../../x.png", b"x", 400, "is no sample for this encoder"),
        ("/file?ending=.png", b"no picture", 400, "cannot be read"),
        ("/other", {}, 404, "nothing at this address"),
    ],
)
def test_mistakes_are_answered(server: Server, key: str, path: str, body: Any, status: int, words: str) -> None:
    if isinstance(body, dict) and body.get("key") == "{key}":
        body = {**body, "key": key}
    code, found = said(server, body, path)
    assert code == status
    assert words in found["error"]


@pytest.mark.parametrize("length", [str(2**25 + 1), "-1", "many"])
def test_a_question_that_is_too_long_is_not_read(server: Server, length: str) -> None:
    assert ask(server, "POST", "/search", None, {**ASK, "Content-Length": length})[0] == 413


def test_there_is_only_one_page(server: Server) -> None:
    assert ask(server, "GET", "/embeddings.parquet")[0] == 404


def test_a_port_that_is_taken_is_named(server: Server) -> None:
    with pytest.raises(ConfigError, match=f"port {server.port} cannot be used"):
        Server(server.searcher, title="x", port=server.port)


def test_a_browser_searches_by_key_condition_file_and_keyboard(
    server: Server,
    key: str,
    browser: Any,
) -> None:
    expect = pytest.importorskip("playwright.sync_api").expect
    hits = len(server.searcher.index.where('label == "class 1"'))
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    page.set_default_timeout(20_000)
    requests: list[str] = []
    errors: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(server.address)
    page.fill("#query", key)
    page.keyboard.press("Enter")
    page.wait_for_selector(".hit img")
    assert page.locator(".hit").count() == 20
    page.fill("#where", 'label == "class 1"')
    page.press("#query", "Enter")
    expect(page.locator(".hit")).to_have_count(hits)
    page.press("#query", "ArrowDown")
    page.keyboard.press("ArrowRight")
    second = page.locator(".hit").nth(1).get_attribute("data-key")
    page.keyboard.press("Enter")
    expect(page.locator(".hit").first).to_have_attribute("data-key", str(second))
    page.fill("#where", "")
    picture = io.BytesIO()
    Image.new("RGB", (16, 16), "red").save(picture, "PNG")
    page.set_input_files("#file", {"name": "a.png", "mimeType": "image/png", "buffer": picture.getvalue()})
    expect(page.locator(".said")).to_contain_text("for a.png")
    page.fill("#query", "<img src=x onerror=alert(1)>")
    page.press("#query", "Enter")
    page.wait_for_selector(".said.is-wrong")
    assert "is no key" in page.inner_text(".said")
    assert not errors
    assert all(url.startswith((server.address, "data:")) for url in requests)
    page.context.close()
