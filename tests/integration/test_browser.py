"""The page in a real browser without a network: charts, sorting, filters, the panel of a trial, accessibility."""

import shutil

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

from orchestrator.report import html
from orchestrator.report.collection import Entry, write_collection
from tests import fake_run as fake
from tests.fake_stored import NO_MEMORY, checked, run, skip, timed, watched

pytestmark = pytest.mark.browser

HOSTILE = "<img src=x onerror=document.title='run'>"
SUBJECTS = (("mxnet", "1.5"), ("pytorch", "2.13"), ("tensorflow", "2.21"))
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


def a_run(run_id="20261121-120000-quick", started_unix=1_795_262_400.0):
    """Three frameworks in two cells, six repeats of each, one of which failed; one trial that was watched."""
    trials = [
        timed(
            fake.trial(*subject, model=model, input_size=size, repeat=repeat),
            100 * at + 10 * cell + repeat,
            step_seconds=0.1 * (1 + (2 * at) % 3) + 0.001 * repeat,
        )
        for at, subject in enumerate(SUBJECTS)
        for cell, (model, size) in enumerate(((fake.RESNET, 32), (fake.IDSIA, 48)))
        for repeat in range(6)
    ]
    bad = timed(fake.trial(*SUBJECTS[0], repeat=6), 900, NO_MEMORY.model_copy(update={"reason": HOSTILE}))
    checks = [checked(framework=name, variant=variant, ordinal=950 + at) for at, (name, variant) in enumerate(SUBJECTS)]
    facts = {"run_id": run_id, "started_unix": started_unix, "host": fake.host(hostname_sha256="a" * 64)}
    return run(*trials, bad, watched(ordinal=901), checks=checks, skips=(skip(reason=HOSTILE),), **facts)


@pytest.fixture(scope="module")
def chromium():
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium here (Debian: apt install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    return html.render(a_run(), tmp_path_factory.mktemp("page")).as_uri()


@pytest.fixture
def opened(chromium, address):
    """Opens the page in a window; `opened.said` are errors, warnings and requests for anything else."""
    contexts, said = [], []

    def is_foreign(url):
        return not url.startswith((address, "data:"))

    def open_(anchor="", **context):
        context = chromium.new_context(**{"viewport": WIDE, **context}, offline=True)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: said.append(request.url) if is_foreign(request.url) else None)
        page.goto(address + anchor)
        return page

    open_.said = said
    yield open_
    for context in contexts:
        context.close()


def scrolled_through(page):
    """The page, after every chart was near the window and was drawn."""
    for figure in page.locator("figure").all():
        figure.scroll_into_view_if_needed()
        figure.locator(".live svg").wait_for(timeout=20_000)
    return page


def first_cells(page, group):
    """The first column of one group of the results."""
    body = page.locator("section[aria-labelledby=results] tbody").nth(group)
    return body.locator("th[scope=row]").all_inner_texts()


def test_every_chart_is_drawn_without_an_error(opened):
    page = scrolled_through(opened())
    assert page.locator("figure .live svg").count() == page.locator("figure").count() > 5
    assert opened.said == []


def test_a_dot_tells_its_numbers(opened):
    page = scrolled_through(opened())
    figure = page.locator("figure:has(figcaption:has-text('a dot per repeat'))")
    figure.locator(".mark-symbol path").first.hover(force=True)
    page.locator("#vg-tooltip-element.visible").wait_for(timeout=20_000)
    assert "seconds" in page.locator("#vg-tooltip-element").inner_text()


def test_a_heading_sorts_the_rows_of_each_cell(opened):
    page = opened()
    heading = page.locator("section[aria-labelledby=results] th button", has_text="step ms")
    heading.click()
    up = first_cells(page, 0)
    heading.click()
    assert (first_cells(page, 0), len(up)) == (up[::-1], 3)


def test_a_filter_leaves_the_rows_that_hold_its_words(opened):
    page = opened()
    page.locator("section[aria-labelledby=results] input[type=search]").fill("pytorch idsia")
    shown = page.locator("section[aria-labelledby=results] tbody tr:visible th[scope=row]").all_inner_texts()
    assert shown == ["pytorch:2.13"]


def test_a_number_leads_to_its_trials_and_their_command(opened):
    page = opened()
    page.locator("section[aria-labelledby=results] a[href^='#row']").first.click()
    panel = page.locator("dialog#panel[open]")
    panel.locator("a").first.click()
    panel.locator(".live svg").first.wait_for(timeout=20_000)
    run_id = fake.run_facts().run_id
    assert panel.locator("pre").first.inner_text().startswith(f"invoke sweep --spec={run_id} --device=cpu")
    page.keyboard.press("Escape")
    page.wait_for_url(lambda url: "#" not in url)  # the browser tells of the closing a moment later
    assert (page.locator("dialog[open]").count(), opened.said) == (0, [])


def test_a_link_to_a_trial_opens_it(opened):
    page = opened("#t900")
    panel = page.locator("dialog#panel[open]")
    assert "out_of_memory" in panel.inner_text()
    assert HOSTILE in panel.inner_text()


def test_markup_of_the_record_is_only_text(opened):
    page = scrolled_through(opened("#t900"))
    assert (page.locator("img[src=x]").count(), page.title().startswith("2026")) == (0, True)


@pytest.mark.parametrize("window", [WIDE, NARROW], ids=["1280", "390"])
def test_a_window_is_never_narrower_than_the_page(opened, window):
    page = scrolled_through(opened(viewport=window))
    assert page.evaluate("document.documentElement.scrollWidth") <= window["width"]


def test_on_paper_there_are_pictures_and_no_controls(opened):
    page = scrolled_through(opened())
    page.emulate_media(media="print")
    shown = {name: page.locator(name).first.is_visible() for name in ("nav", ".filter", ".live", "figure img")}
    assert shown == {"nav": False, ".filter": False, ".live": False, "figure img": True}


@pytest.fixture(scope="module")
def joined(tmp_path_factory):
    """The address of a page of two runs of one machine."""
    entries = [Entry.of(a_run(name, at), f"{name}/index.html") for at, name in enumerate(("old", "new"))]
    return write_collection(entries, tmp_path_factory.mktemp("joined"), f"Runs {HOSTILE}").as_uri()


@pytest.mark.parametrize("window", [WIDE, NARROW], ids=["1280", "390"])
def test_a_page_of_several_runs_is_filtered_and_readable(chromium, joined, window):
    said = []
    context = chromium.new_context(viewport=window, offline=True)
    page = context.new_page()
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(joined)
    page.locator("input[type=search]").first.fill("idsia pytorch old")
    rows = page.locator("table").first.locator("tbody tr:visible th[scope=row]").all_inner_texts()
    grave = [one["id"] for one in Axe().run(page).response["violations"] if one["impact"] in ("serious", "critical")]
    seen = (rows, grave, page.locator("img[src=x]").count(), page.evaluate("document.documentElement.scrollWidth"))
    assert (said, *seen) == ([], ["pytorch:2.13"], [], 0, window["width"])
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("anchor", ["", "#t900"], ids=["page", "panel"])
def test_axe_finds_nothing_serious(opened, scheme, anchor):
    page = opened(anchor, color_scheme=scheme)
    found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "best-practice"]})
    grave = [one for one in found.response["violations"] if one["impact"] in ("serious", "critical")]
    assert [(one["id"], [node["target"] for node in one["nodes"]]) for one in grave] == []
