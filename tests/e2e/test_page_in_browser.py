"""The HTML report in a real browser: nothing of a prediction runs, nothing is asked for, it works.

Every request of the browser goes through a proxy of ours, which answers for one host and writes
down what else is wanted. A page that is unsafe on purpose shows that the net has no hole.
"""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from browser import DESKTOP, FIELD, PHONE, Tab, wait_for
from evaluations import PAYLOADS, evaluations_of, row

from llamafactory_emotion.evaluate.html_page import page_html
from llamafactory_emotion.task import Task

HOST = "http://report.example"
LEFT = "document.querySelectorAll('[data-answer]:not([hidden])').length"
COLOUR = "getComputedStyle(document.querySelector('{}')).backgroundColor"


class Site:
    """Answers for one host, as a proxy, and notes every address that the browser asks for."""

    def __init__(self):
        self.pages: dict[str, str] = {}
        self.asked: list[str] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                site.asked.append(self.path)
                page = site.pages.get(self.path.removeprefix(HOST))
                body = (page or "").encode()
                self.send_response(404 if page is None else 200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_CONNECT(self):
                site.asked.append(self.path)
                self.send_error(403)

            do_POST = do_GET  # noqa: N815 - the names are the server's

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def flags(self):
        proxy = f"--proxy-server=http://127.0.0.1:{self.server.server_port}"
        return proxy, "--proxy-bypass-list=<-loopback>", "--disable-quic", "--disable-sync"

    def asked_by_pages(self):
        """What pages asked for; a browser's own hosts are none of these."""
        return {one for one in self.asked if ".example" in one}


@pytest.fixture
def site():
    one = Site()
    yield one
    one.server.shutdown()
    one.server.server_close()


@pytest.fixture
def tab(browser, site, tmp_path):
    one = Tab(browser, tmp_path / "profile", *site.flags)
    yield one
    one.close()


@pytest.fixture
def report(tmp_path):
    """A page in which every place that can hold a text holds an attack."""
    task = Task("<script>document.title='owned'</script>", ("joy", "love", PAYLOADS[0]), "Which?")
    rows = [
        row(label, payload, prompt=payload, id=f"{k}{label}{payload}")
        for k, payload in enumerate(PAYLOADS)
        for label in task.labels
    ]
    rows += [row("joy", "joy"), row(PAYLOADS[0], PAYLOADS[0])]
    rows += [row("love", "joy", prompt="the kitchen window", id=k) for k in range(3)]
    rows += [row("joy", "love", prompt="w" * 3000, id="long")]
    for one in rows:
        one["probabilities"] = dict.fromkeys(task.labels, 1 / 3)
    name = "<img src=x onerror=document.title='owned'>.jsonl"
    evaluations, pairs = evaluations_of(tmp_path, {name: rows}, task=task)
    return page_html(evaluations, pairs)


def test_the_net_has_no_hole(tab, site):
    site.pages["/unsafe.html"] = "<title>fine</title>" + "\n".join(
        one for one in PAYLOADS if "\ud800" not in one and one != "<!--"
    )
    leaks = {f"http://leak.example/{one}" for one in ("picture", "style")} | {f"{HOST}/x"}

    tab.call("Page.navigate", url=f"{HOST}/unsafe.html")

    wait_for(lambda: leaks <= set(site.asked), "every leak")
    # The page runs what it holds, and refreshes itself away.
    wait_for(
        lambda: "http://leak.example/refresh" in site.asked or tab.ask("document.title") == "owned",
        "an owned page",
    )


@pytest.mark.parametrize(("size", "hash_"), [(PHONE, "#q=kitchen%20window"), (DESKTOP, "")])
def test_nothing_of_a_prediction_runs_and_the_search_finds(tab, site, report, size, hash_):
    site.pages["/page.html"] = report
    answers = report.count("<li data-answer>")

    def found():
        return tab.ask(f"[{LEFT}, document.getElementById('found').textContent]")

    def search(text):
        tab.write(text)
        return found()

    tab.open(f"{HOST}/page.html{hash_}", size)

    assert tab.ask(f"{FIELD}.value") == ("kitchen window" if hash_ else "")
    assert found() == ([3, f"3 of {answers}"] if hash_ else [answers, f"{answers} answers"])
    assert search("KITCHEN   window") == search("love → joy") == [3, f"3 of {answers}"]
    assert search("no such words") == [0, f"0 of {answers}"]
    assert search("") == [answers, f"{answers} answers"]
    assert tab.ask("location.hash") == ""
    assert tab.ask(COLOUR.format("td.right:not(.heat0)")) != tab.ask(COLOUR.format("td.heat0"))
    assert tab.ask("document.querySelector('td.bar rect.fill').getBoundingClientRect().height") > 0
    assert tab.ask("document.documentElement.scrollWidth") <= size[0]
    assert tab.ask("document.title").startswith("Evaluation of ")
    assert tab.ask("document.scripts.length") == 1
    assert site.asked_by_pages() == {f"{HOST}/page.html"}
