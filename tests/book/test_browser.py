"""Every page of the book in headless Chromium, from disk: loaded once, then looked at in three widths."""

import os
import shutil
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.book, pytest.mark.filterwarnings("default")]
WIDTHS = (390, 1000, 1600)
SWITCHES = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--allow-file-access-from-files",
]  # fmt: skip
WORDS = {
    "saliency": "02_optimal_brain_damage", "purification": "15_network_purification", "im2col": "03_convolution",
    "kinks": "05b_the_whole_path", "Fisher": "08_second_derivatives", "ThiNet": "16_channels",
    "surgeon": "10_optimal", "Dawson": "19_variational", "adversary": "23_pruning", "multipliers": "21_factorised",
}  # fmt: skip
LOOK = r"""() => {
    const copy = document.body.cloneNode(true);
    copy.querySelectorAll('pre, code, script, style, mjx-container, .sig').forEach(each => each.remove());
    const raw = copy.textContent.match(/\\(begin|frac|partial|sum|lVert|tfrac|operatorname)\b|\$[^$\n]{1,80}\$/g);
    return {
        formulas: document.querySelectorAll('span.math, div.math').length,
        rendered: document.querySelectorAll('mjx-container').length,
        read: document.querySelectorAll('article mjx-container').length,
        failed: document.querySelectorAll('mjx-merror, [data-mjx-error], g[data-mml-node=merror]').length,
        raw: raw || [],
        empty: [...document.images].filter(each => each.complete && !each.naturalWidth).map(each => each.src),
    };
}"""
WIDE = r"""() => document.documentElement.scrollWidth - window.innerWidth"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra book)")
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium): the book was not looked at")
    with playwright.sync_playwright() as running:
        context = running.chromium.launch_persistent_context(
            str(tmp_path_factory.mktemp("chromium")),
            executable_path=program,
            headless=True,
            args=SWITCHES,
            offline=True,
        )
        yield context
        context.close()


def test_every_page_is_whole_at_every_width(book, browser, formulas):
    """No raw TeX, failed request or script error, as many formulas as in the source, no page wider than its window."""
    faults, failed, rendered = [], [], 0
    page = browser.new_page()
    page.on("requestfailed", lambda request: failed.append(request.url))
    page.on("pageerror", lambda error: faults.append((page.url, "script", str(error))))
    vendored = (book / "_static" / "tex-svg-full.js").stat().st_size > 1e6
    for path in sorted(book.rglob("*.html")):
        page.set_viewport_size({"width": WIDTHS[-1], "height": 900})
        page.goto(path.as_uri())
        if failed:  # under load the browser's own network process may start anew; what is missing fails a second time
            failed.clear()
            page.goto(path.as_uri())
        if vendored and page.evaluate("Boolean(document.querySelector('.math'))"):
            page.wait_for_function("window.MathJax && MathJax.startup && MathJax.startup.promise")
            page.evaluate("MathJax.startup.promise.then(() => 0)")
        seen, name = page.evaluate(LOOK), str(path.relative_to(book))
        rendered += seen["read"]
        said = formulas.get(name[:-5], 0)
        if vendored:
            faults += [(name, "raw TeX", each) for each in seen["raw"]]
            faults += [(name, "formulas", seen)] * (seen["formulas"] != seen["rendered"] or seen["failed"] > 0)
            faults += [(name, "formulas", f"{said} in the source, {seen['read']} rendered")] * (said != seen["read"])
        faults += [(name, "picture", each) for each in seen["empty"]]
        faults += [(name, "request", each) for each in failed]
        failed.clear()
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            beyond = page.evaluate(WIDE)
            faults += [(name, "too wide", width, beyond)] * (beyond > 0)
    print(f"{sum(formulas.values())} formulas in the sources, {rendered} rendered")
    assert faults == []
    if not vendored:
        pytest.skip("the book was built without MathJax (npm): its formulas were not looked at")


@pytest.mark.parametrize("word", WORDS)
def test_a_word_of_the_lecture_is_found_from_disk(book, browser, word):
    page = browser.new_page()
    page.goto(f"{(book / 'search.html').as_uri()}?q={word}")
    page.wait_for_selector("#search-results li a", timeout=30_000)
    page.wait_for_function("/Search finished/.test(document.querySelector('#search-results').textContent)")
    found = page.eval_on_selector_all("#search-results li a", "all => all.map(each => each.href)")
    page.close()
    assert any(WORDS[word] in each for each in found), found[:10]


def test_screens(book, browser):
    """Pictures of some pages, for whoever wants to look: BOOK_SCREENS names the folder."""
    folder = os.environ.get("BOOK_SCREENS")
    if not folder:
        pytest.skip("BOOK_SCREENS names no folder for pictures")
    shown = [
        "index",
        "notebooks/02_optimal_brain_damage",
        "_generated/ledger",
        "api/nn.linear",
        "_generated/results",
        "_generated/house",
    ]
    page = browser.new_page()
    for name in shown:
        page.goto((book / f"{name}.html").as_uri())
        if page.evaluate("Boolean(document.querySelector('.math'))"):
            page.wait_for_function("window.MathJax && MathJax.startup && MathJax.startup.promise")
            page.evaluate("MathJax.startup.promise.then(() => 0)")
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 1000})
            picture = Path(folder) / f"{name.replace('/', '-')}-{width}.png"
            page.screenshot(path=picture)
            assert picture.stat().st_size > 10_000, f"{picture.name} is nearly empty"
