"""The HTML report in a real browser: nothing of a prediction runs, nothing is asked for, it works.

Every request of the browser goes through a proxy of ours, which answers for one host and writes
down what else is wanted.
"""

import html
import json
import re
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from evaluations import PAYLOADS, evaluations_of, row

from llamafactory_emotion.evaluate.html_page import page_html
from llamafactory_emotion.task import Task

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--proxy-bypass-list=<-loopback>",
    "--virtual-time-budget=5000",
    "--dump-dom",
)
HOST = "http://report.example"
# Asks the report for what only a browser knows, from outside: its policy lets no script in.
PROBE = """<!doctype html><title>waiting</title><iframe></iframe><script>
const frame = document.querySelector("iframe");
frame.width = WIDTH;
frame.height = 844;
frame.onload = () => {
  const page = frame.contentDocument;
  const field = page.getElementById("query");
  const left = () => page.querySelectorAll("[data-answer]:not([hidden])").length;
  const search = (text) => {
    field.value = text;
    field.dispatchEvent(new Event("input"));
    return [left(), page.getElementById("found").textContent];
  };
  const report = {
    width: page.documentElement.scrollWidth,
    title: page.title,
    marker: search("KITCHEN   window"),
    nothing: search("no such words"),
    all: search(""),
  };
  document.title = JSON.stringify(report);
};
frame.src = "/page.html";
</script>"""


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
    def proxy(self):
        return f"--proxy-server=http://127.0.0.1:{self.server.server_port}"

    def asked_by_pages(self):
        """What pages asked for; a browser's own hosts are none of these."""
        return sorted({one for one in self.asked if ".example" in one})


@pytest.fixture
def site():
    one = Site()
    yield one
    one.server.shutdown()
    one.server.server_close()


@pytest.fixture
def visit(site, tmp_path):
    names = ("chromium", "chromium-browser", "google-chrome")
    browser = next(filter(None, map(shutil.which, names)), None)
    if browser is None:
        pytest.skip(f"no browser on the path ({', '.join(names)}); install Chromium to run this")

    def run(address):
        words = [browser, *FLAGS, site.proxy, f"--user-data-dir={tmp_path}/profile", HOST + address]
        done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=True)
        return done.stdout

    return run


def title_of(dom):
    return html.unescape(re.search(r"<title>(.*?)</title>", dom, re.DOTALL)[1])


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


def test_nothing_of_a_prediction_runs_and_nothing_is_asked_for(visit, site, report):
    site.pages["/page.html"] = report

    dom = visit("/page.html")

    assert title_of(dom).startswith("Evaluation of ")
    assert dom.count("<script") == 1
    assert "data-answer" in dom
    assert site.asked_by_pages() == [f"{HOST}/page.html"]


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_and_its_search_finds(visit, site, report, width):
    site.pages["/page.html"] = report
    site.pages["/probe.html"] = PROBE.replace("WIDTH", str(width))
    answers = report.count("<li data-answer>")

    found = json.loads(title_of(visit("/probe.html")))

    assert found["width"] <= width
    assert found["title"].startswith("Evaluation of ")
    assert found["marker"] == [3, f"3 of {answers}"]
    assert found["nothing"] == [0, f"0 of {answers}"]
    assert found["all"] == [answers, f"{answers} answers"]
    # The probe's own icon is looked for; it has no policy.
    assert set(site.asked_by_pages()) - {f"{HOST}/favicon.ico"} == {
        f"{HOST}/page.html",
        f"{HOST}/probe.html",
    }
