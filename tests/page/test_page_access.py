"""The web page in a real headless Chromium: its security and its accessibility."""

from __future__ import annotations

import http.server
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from plasticity_bench.page.document import page_data, write_page
from plasticity_bench.page.rows import SubmissionDetails
from plasticity_bench.scoring.scores import Scores
from tests.support.browser import CHROMIUM, SKIP, chromium_path, serving, visit
from tests.support.fake_scores import fake_scores

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROWS = "#ranking-table tbody tr"
ATTACK = "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 2'>"
#: Script: the lowest contrast between the text of an element and its background.
LOWEST_CONTRAST = """() => {
  const parts = (text) => text.match(/[\\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => {
    const line = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    return 0.2126 * line(r) + 0.7152 * line(g) + 0.0722 * line(b);
  };
  let lowest = [21, ''];
  for (const node of document.querySelectorAll('body *')) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
    if (!own || !node.checkVisibility() || node.closest('script, option')) continue;
    let ground = node;
    const clear = (one) => (parts(getComputedStyle(one).backgroundColor)[3] ?? 1) === 0;
    while (ground && clear(ground)) ground = ground.parentElement;
    const colors = [getComputedStyle(node).color, getComputedStyle(ground ?? document.body).backgroundColor];
    const [a, b] = colors.map((color) => luminance(parts(color))).sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < lowest[0]) lowest = [ratio, node.outerHTML.slice(0, 80)];
  }
  return lowest;
}"""


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "index.html"
    write_page(page_data(fake_scores(methods=9, streams=3, tuned=9), path.parent), path)
    return path


def test_nothing_in_the_data_can_act(chromium: Browser, tmp_path: Path) -> None:
    made = fake_scores(
        methods=4, streams=2, label=ATTACK, name=ATTACK, summary=ATTACK, source=ATTACK, paper=ATTACK,
        settings={ATTACK: ATTACK},
    )  # fmt: skip
    streams = tuple(replace(stream, notes=(ATTACK,)) for stream in made.streams)
    extra = SubmissionDetails(
        code=ATTACK, code_name=ATTACK, link="javascript:window.hacked=3", submitter=ATTACK
    )
    write_page(
        page_data(Scores(streams, made.aggregate, (ATTACK,)), tmp_path, {ATTACK: extra}), tmp_path / "a.html"
    )
    with visit(chromium, tmp_path / "a.html") as seen:
        page = seen.page
        assert ATTACK in seen.texts(f"{ROWS} .method")
        page.locator(ROWS, has_text="</script>").locator("input").check()
        page.locator(ROWS, has_text="</script>").locator(".method").click()
        page.get_by_role("dialog", name=ATTACK).wait_for()
        assert page.inner_text("#detail-title") == ATTACK
        assert page.locator("img").count() == 0
        assert page.locator("a[href^='javascript']").count() == 0
        assert "javascript:window.hacked=3" in page.inner_text("#detail")
        assert page.evaluate("window.hacked") is None


def test_only_addresses_that_are_safe_to_follow_become_links(chromium: Browser, tmp_path: Path) -> None:
    addresses = {
        "none": "https://example.org/a",
        "reset": "runs/stream/none",
        "l2": "java\nscript:alert(1)",
        "l2-init": "data:text/html,<b>x</b>",
        "shrink-perturb": "\\\\host\\share",
        "layer-norm": "file://host/share",
        "crelu": "http://[",
    }
    made = fake_scores(methods=7)
    extras = {label: SubmissionDetails(link=address) for label, address in addresses.items()}
    write_page(page_data(made, tmp_path, extras), tmp_path / "index.html")
    with visit(chromium, tmp_path / "index.html") as seen:
        followed = []
        for label, address in addresses.items():
            seen.page.evaluate("(label) => { location.hash = `#method=${label}`; }", label)
            seen.page.get_by_role("dialog", name=label, exact=True).wait_for()
            links = "all => all.map((a) => a.getAttribute('href'))"
            followed += seen.page.locator("#detail dl a").evaluate_all(links)
            assert address.split("\n")[0] in seen.page.inner_text("#detail dl >> nth=0")
        assert followed == ["https://example.org/a", "runs/stream/none"]


@pytest.mark.parametrize("policy", [True, False])
def test_the_policy_holds(chromium: Browser, page_file: Path, policy: bool) -> None:
    """Even if the page's code had a hole, no request would be sent and no text would become markup.

    If the browser ignores the policy, both happen: so the test shows the effect of the policy.
    """
    asked: list[str] = []

    class Server(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, format: str, *args: Any) -> None:
            """Prints nothing."""

    with serving(Server) as address:
        context = chromium.new_context(bypass_csp=not policy)
        page = context.new_page()
        page.goto(page_file.resolve().as_uri())
        page.wait_for_selector(ROWS)
        refused = page.evaluate(
            """async (address) => {
              const refused = [];
              try { document.getElementById('at').innerHTML = '<b>x</b>'; } catch { refused.push('markup'); }
              const script = document.createElement('script');
              try { script.textContent = 'window.hacked = 1'; } catch { refused.push('script'); }
              document.body.append(script);
              document.body.append(Object.assign(new Image(), { src: `${address}/image.png` }));
              await fetch(`${address}/fetch`, { mode: 'no-cors' }).catch(() => refused.push('fetch'));
              return refused;
            }""",
            address,
        )
        wanted = [] if policy else ["/fetch", "/image.png"]
        deadline = time.monotonic() + (0.3 if policy else 10)
        while time.monotonic() < deadline and len(asked) != 2:
            page.wait_for_timeout(20)
        assert refused == (["markup", "script", "fetch"] if policy else [])
        assert page.evaluate("window.hacked") == (None if policy else 1)
        assert sorted(asked) == wanted
        context.close()


def test_themes(chromium: Browser, page_file: Path) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    with visit(chromium, page_file, color_scheme="dark") as seen:
        dark = seen.page.evaluate(ground)
        canvas = seen.page.locator("#chart canvas").screenshot()
        seen.page.get_by_role("button", name="Light theme").click()
        light = seen.page.evaluate(ground)
        assert sum(map(int, re.findall(r"\d+", light))) > 700 > 100 > sum(map(int, re.findall(r"\d+", dark)))
        assert seen.page.locator("#chart canvas").screenshot() != canvas
        seen.page.reload()
        seen.page.wait_for_selector(ROWS)
        assert seen.page.evaluate(ground) == light
        seen.page.get_by_role("button", name="Dark theme").wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast(chromium: Browser, page_file: Path, scheme: Any) -> None:
    with visit(chromium, page_file, color_scheme=scheme) as seen:
        ratio, element = seen.page.evaluate(LOWEST_CONTRAST)
        assert 4.5 <= ratio < 21, element
        seen.page.evaluate("location.hash = '#method=l2%20(tuned)'")
        seen.page.get_by_role("dialog").wait_for()
        for details in seen.page.locator("#detail details").all():
            seen.unfold(details)
        ratio, element = seen.page.evaluate(LOWEST_CONTRAST)
        assert 4.5 <= ratio < 21, element


@pytest.mark.parametrize("width", [390, 320])
def test_on_a_phone(chromium: Browser, page_file: Path, width: int) -> None:
    with visit(chromium, page_file, viewport={"width": width, "height": 800}) as seen:
        page = seen.page
        assert page.evaluate("document.documentElement.scrollWidth") == width
        page.locator(f"{ROWS} .method").first.wait_for()
        page.locator(f"{ROWS} .scored b").first.wait_for()
        page.locator(f"{ROWS} .method").first.click()
        box = page.get_by_role("dialog").bounding_box()
        assert box is not None
        assert box["width"] == width
        assert page.evaluate("document.documentElement.scrollWidth") == width


@pytest.mark.parametrize("width", [1440, 1280, 820, 390])
def test_headings_stay_in_sight_and_cover_nothing(chromium: Browser, page_file: Path, width: int) -> None:
    with visit(chromium, page_file, viewport={"width": width, "height": 500}) as seen:
        for table in ("#ranking-table", "details.stream[open]"):
            tops = """(table) => {
              const [head, row] = ['thead th', 'tbody tr'].map((name) =>
                document.querySelector(`${table} ${name}`).getBoundingClientRect());
              const bar = document.getElementById('filters');
              const stuck = getComputedStyle(bar).position === 'sticky';
              return [head.top, head.bottom, row.top, stuck ? bar.getBoundingClientRect().bottom : 0];
            }"""
            scroll = """([table, by]) => {
              document.querySelector(`${table} thead`).scrollIntoView();
              scrollBy(0, by);
            }"""
            seen.page.evaluate(scroll, [table, -200])
            _, bottom, row, _ = seen.page.evaluate(tops, table)
            assert bottom <= row + 1, "the headings lie on the first row"
            # In a narrower window the tables of streams scroll by themselves.
            if table == "#ranking-table" or width == 1440:
                seen.page.evaluate(scroll, [table, 250])
                top, _, row, bar = seen.page.evaluate(tops, table)
                assert row < top
                assert top == pytest.approx(bar, abs=1.5)


def test_by_keyboard_and_by_name(chromium: Browser, page_file: Path) -> None:
    with visit(chromium, page_file) as seen:
        page = seen.page
        names = page.evaluate(
            """() => [...document.querySelectorAll('a, button, input, select, summary, [tabindex="0"]')]
              .filter((node) => node.checkVisibility())
              .map((node) => [node.ariaLabel, node.innerText, node.labels?.[0]?.innerText])
              .map((found) => found.filter((text) => text?.trim())[0] ?? '')"""
        )
        assert len(names) > 50
        assert all(names)
        reached = []
        for _ in range(10):
            page.keyboard.press("Tab")
            reached.append(page.evaluate("document.activeElement.id || document.activeElement.textContent"))
        assert reached[:8] == [
            *("Skip to the scores", "theme", "suite", "stream", "family", "settings", "search", "clear")
        ]
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid"
        page.keyboard.press("Shift+Tab")
        levels = page.evaluate("[...document.querySelectorAll('h1, h2')].map((node) => node.tagName)")
        assert levels == ["H1", "H2", "H2", "H2", "H2"]


def test_without_a_browser_one_line_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CHROMIUM, "/nowhere/chromium")
    monkeypatch.delenv(SKIP, raising=False)
    with pytest.raises(pytest.fail.Exception, match="apt-get install -y chromium") as failed:
        chromium_path()
    assert "/nowhere/chromium is not there" in str(failed.value)
    monkeypatch.delenv(CHROMIUM)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(pytest.fail.Exception, match=r"^no Chromium found: .*[^\n]$"):
        chromium_path()
    monkeypatch.setenv(SKIP, "1")
    with pytest.raises(pytest.skip.Exception):
        chromium_path()
