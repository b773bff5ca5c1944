"""A reviewer at a real browser: keys, reasons, bulk, undo, two people at one picture, and services that go away."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from silhouette.contracts.dataset import PictureRow
from silhouette.database import badlist
from tests.browser import Browser, Tab, find_browser, running
from tests.review.conftest import GROUP, HEIGHT, OTHER, WIDTH, World, person
from tests.review.serving import reviewing
from tests.review.test_verdicts import gone

CARD = "document.querySelectorAll('.card{}').length === {}"
Open = Callable[[str], Tab]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program = find_browser()
    if program is None:
        pytest.skip("needs a browser of the Chromium family on the PATH; there is none")
    with running(program, tmp_path_factory.mktemp("browser")) as started:
        yield started


@pytest.fixture
def opened(browser: Browser, environ: dict[str, str], group: World, tmp_path: Path) -> Iterator[Open]:
    """Opens the page as a reviewer of that name, in a browser of their own; nothing may go wrong in its scripts."""
    with ExitStack() as stack:
        tabs: list[Tab] = []

        def start(reviewer: str) -> Tab:
            address, _ = stack.enter_context(reviewing(GROUP, "--reviewer", reviewer, environ=environ, folder=tmp_path))
            tab = browser.open(address)
            tab.wait("document.querySelector('.card')")
            tab.wait("document.querySelector('.chip b').innerText")
            tabs.append(tab)
            return tab

        yield start
        assert [tab.problems for tab in tabs] == [[]] * len(tabs)


def cards(tab: Tab, status: str, count: int) -> None:
    tab.wait(CARD.format(f".{status}", count))


def current(tab: Tab) -> str:
    return str(tab.evaluate("document.activeElement.getAttribute('aria-label') ?? ''"))


def test_the_page_shows_people_and_hides_the_token(opened: Open, group: World) -> None:
    tab = opened("anna")
    assert "token" not in tab.evaluate("location.href")
    assert "token" not in tab.evaluate("document.cookie")
    assert tab.text("h1") == GROUP
    titles = tab.texts(".card b")
    assert titles == [f"picture {number}" for number in (1, 2, 4, 3, 5, 0)]
    assert tab.evaluate("document.querySelectorAll('.card:first-child .person path').length") == 2
    tab.wait("[...document.querySelectorAll('.card img')].every(image => image.naturalWidth > 0)")
    colours = tab.evaluate(
        "[...document.querySelectorAll('.card:first-child .person')].map(person => getComputedStyle(person).color)"
    )
    assert len(set(colours)) == 2
    assert tab.evaluate("getComputedStyle(document.querySelector('.person path')).fillRule") == "evenodd"
    assert tab.evaluate("[...document.querySelectorAll('.doubt i')].map(bar => bar.style.width)")[0] == "70%"
    assert tab.evaluate("document.querySelector('#one-model').hidden") is False
    assert tab.evaluate("document.querySelector('#agreement').hidden") is True
    assert tab.evaluate("document.title") == f"6 left: {GROUP}"


def test_verdicts_are_given_and_undone_by_keys(opened: Open, group: World) -> None:
    tab = opened("anna")
    assert current(tab).startswith("picture 1, unchecked, 2 people")
    tab.press("a")
    cards(tab, "approved", 1)
    assert group.status(1) == ("approved", 1, "anna", "")
    tab.wait("document.activeElement.getAttribute('aria-label').startsWith('picture 2,')")
    tab.press("n")
    cards(tab, "nobody", 1)
    tab.press("r")
    tab.wait("document.querySelector('#reason').open")
    tab.press("3")
    cards(tab, "rejected", 1)
    assert group.status(4) == ("rejected", 1, "anna", "a person is missing")
    tab.press("r")
    tab.type("за кадром 'all'")
    tab.press("Enter")
    cards(tab, "rejected", 2)
    assert group.status(3) == ("rejected", 1, "anna", "за кадром 'all'")
    assert tab.texts(".chip b") == ["2", "1", "2", "1"]
    tab.press("u")
    cards(tab, "rejected", 1)
    assert group.status(3)[0] == "unchecked"
    tab.press("z", hold="ctrl")
    cards(tab, "rejected", 0)
    tab.press("u")
    cards(tab, "nobody", 0)
    tab.press("u")
    cards(tab, "unchecked", 6)
    assert group.status(1) == ("unchecked", 2, "anna", "undone by its reviewer")
    tab.press("u")
    cards(tab, "approved", 1)  # the undo of an undo, of the picture at hand


def test_quick_keys_are_each_for_the_next_picture(opened: Open, group: World) -> None:
    tab = opened("anna")
    tab.press("a", "a", "n", "a")
    cards(tab, "approved", 3)
    cards(tab, "nobody", 1)
    assert [group.status(number)[:2] for number in (1, 2, 4, 3, 5)] == [
        ("approved", 1), ("approved", 1), ("nobody", 1), ("approved", 1), ("unchecked", 0),
    ]  # fmt: skip


def test_a_rejection_needs_a_reason_and_escape_gives_no_verdict(opened: Open, group: World) -> None:
    tab = opened("anna")
    tab.press("r", "Enter")
    assert tab.evaluate("document.querySelector('#reason').open") is True
    assert tab.evaluate("document.querySelector('#reason-text').placeholder") == "a rejection needs a reason"
    tab.press("Escape")
    tab.wait("!document.querySelector('#reason').open")
    assert group.status(1)[0] == "unchecked"


def test_keys_move_select_and_show_themselves(opened: Open) -> None:
    tab = opened("anna")
    tab.press("?")
    tab.wait("document.querySelector('#help').open")
    assert "approve" in tab.text("#help")
    tab.press("Escape")
    tab.press("ArrowRight", "l", "ArrowLeft")
    assert current(tab).startswith("picture 2,")
    tab.press("x")
    tab.press("ArrowRight", "ArrowRight", hold="shift")
    assert tab.text("#selected") == "3 selected"
    tab.click(".card:nth-child(1)", hold="ctrl")
    assert tab.text("#selected") == "4 selected"
    tab.click(".card:nth-child(2)")
    tab.click(".card:nth-child(3)", hold="shift")
    assert tab.text("#selected") == "2 selected"
    tab.press("Escape")
    assert tab.text("#selected") == ""
    tab.press("b", "o")
    assert tab.evaluate("document.body.className") == "with-boxes no-outlines"
    tab.press("f")
    assert tab.evaluate("document.activeElement.name") == "statuses"


def test_a_bulk_says_how_many_and_is_undone_whole(opened: Open, group: World) -> None:
    tab = opened("anna")
    tab.press("x", "ArrowRight", "x", "a")
    tab.wait("document.querySelector('#sure').open")
    assert tab.text("#sure-title") == "Approve 2 pictures?"
    tab.press("Escape")
    tab.wait("!document.querySelector('#sure').open")
    assert group.status(1)[0] == "unchecked"
    tab.press("a", hold="ctrl")
    assert tab.text("#selected") == "6 selected"
    tab.press("a")
    tab.wait("document.querySelector('#sure').open")
    assert tab.text("#sure-title") == "Approve 6 pictures?"
    tab.press("Enter")
    cards(tab, "approved", 6)
    assert {group.status(number)[0] for number in range(6)} == {"approved"}
    tab.press("a", hold="ctrl")
    tab.press("r")
    tab.wait("document.querySelector('#reason').open")
    assert tab.text("#reason-title") == "Why reject these 6 pictures?"
    tab.press("1")
    cards(tab, "rejected", 6)
    tab.press("u")
    cards(tab, "approved", 6)
    tab.press("u")
    cards(tab, "unchecked", 6)
    tab.click(".card:nth-child(2)")
    tab.press("n")
    cards(tab, "nobody", 1)
    tab.press("ArrowLeft", "a")  # a verdict that is changed by keys has a reason of its own
    cards(tab, "approved", 1)
    assert group.status(2)[3] == "changed on a second look"


def many(group: World, count: int) -> range:
    """Add so many pictures without bytes, one person on each, surer than all others."""
    numbers = range(100, 100 + count)
    for number in numbers:
        sha256 = hashlib.sha256(str(number).encode()).hexdigest()
        group.rows[number] = PictureRow(
            picture_id=f"picture {number}", object_key="pictures/none", sha256=sha256, width=WIDTH, height=HEIGHT,
            label="dress",
        )  # fmt: skip
        group.keep(number, object_key="pictures/none")
    group.label(*group.rows)
    group.segment({number: [person(0.97)] for number in numbers})
    return numbers


def statuses(group: World) -> dict[str, int]:
    rows = group.connection.execute("SELECT status, count(*) FROM segmentations GROUP BY status").fetchall()
    return dict(rows)


def test_a_bulk_over_the_whole_filter_reaches_every_page_and_is_undone_whole(opened: Open, group: World) -> None:
    many(group, 504)  # 510 in all, 60 on a page, 500 in a request
    tab = opened("anna")
    tab.wait("document.querySelector('#preparing').innerText === ''")
    tab.press("e")
    tab.wait("document.querySelector('#selected').innerText === 'all 510 that fit'")
    tab.press("ArrowRight", "x")
    assert tab.text("#selected") == "59 selected", "a selection by hand is of this page alone"
    tab.press("Escape", "e")
    tab.wait("document.querySelector('#selected').innerText === 'all 510 that fit'")
    tab.press("a")
    tab.wait("document.querySelector('#sure').open")
    assert tab.text("#sure-title") == "Approve 510 pictures?"
    assert tab.text("#sure p") == "These are all that fit the filters, on every page."
    tab.press("Escape")
    tab.wait("!document.querySelector('#sure').open")
    assert statuses(group) == {"unchecked": 510}
    tab.press("a")
    tab.wait("document.querySelector('#sure').open")
    tab.press("Enter")
    cards(tab, "approved", 60)
    tab.wait("document.querySelector('.chip.approved b').innerText === '510'")
    assert statuses(group) == {"approved": 510}
    tab.press("u")
    cards(tab, "unchecked", 60)
    tab.wait("document.querySelector('.chip.unchecked b').innerText === '510'")
    assert statuses(group) == {"unchecked": 510}


def test_a_bulk_over_a_filter_needs_a_reason_to_reject_and_leaves_what_does_not_fit(opened: Open, group: World) -> None:
    tab = opened("anna")
    tab.fill("[name=max_people]", "1")
    tab.wait(CARD.format("", 5))
    tab.click("[data-do=everything]")
    tab.wait("document.querySelector('#selected').innerText === 'all 5 that fit'")
    tab.press("r")
    tab.wait("document.querySelector('#reason').open")
    assert tab.text("#reason-title") == "Why reject these 5 pictures?"
    tab.press("6")
    tab.wait("document.querySelector('#sure').open")
    assert tab.text("#sure-title") == "Reject 5 pictures?"
    tab.press("Enter")
    cards(tab, "rejected", 5)
    assert statuses(group) == {"rejected": 5, "unchecked": 1}
    assert group.status(0) == ("rejected", 1, "anna", "the picture is of no use")
    assert group.status(1)[0] == "unchecked"


def test_what_changes_while_a_bulk_over_the_filter_is_meant_is_left_and_told(opened: Open, group: World) -> None:
    numbers = many(group, 64)
    tab = opened("anna")
    tab.wait("document.querySelector('#preparing').innerText === ''")
    tab.press("e")
    tab.wait("document.querySelector('#selected').innerText === 'all 70 that fit'")
    group.connection.execute(
        "UPDATE segmentations SET status = 'rejected', reviewer = 'boris', reason = 'seen better',"
        " revision = revision + 1 WHERE picture_sha256 = ANY(%s)",
        ([group.sha(1), *(group.sha(number) for number in numbers[-25:])],),
    )
    tab.press("n")
    tab.wait("document.querySelector('#sure').open")
    tab.press("Enter")
    tab.wait("document.querySelector('[data-kind=problems]')")
    said = tab.text("[data-kind=problems] div")
    assert said.startswith("44 nobody here, 26 not:")
    assert said.endswith("and 6 more")
    assert "boris rejected it at " in said
    assert statuses(group) == {"nobody": 44, "rejected": 26}
    assert group.status(1)[2:] == ("boris", "seen better")
    tab.press("u")
    tab.wait("document.querySelector('.chip.unchecked b').innerText === '44'")
    assert statuses(group) == {"unchecked": 44, "rejected": 26}


def test_of_two_browsers_the_second_sees_who_was_quicker(opened: Open, group: World) -> None:
    anna, boris = opened("anna"), opened("boris")
    anna.press("r", "2")
    cards(anna, "rejected", 1)
    boris.press("a")
    boris.wait("document.querySelector('.notice')")
    said = boris.text(".notice div")
    assert said.startswith("picture 1: anna rejected it at ")
    assert "(“outline covers what is not the person”), while you looked." in said
    assert said.endswith("Nothing was overwritten: your “approved” was not recorded.")
    cards(boris, "rejected", 1)
    assert group.status(1) == ("rejected", 1, "anna", "outline covers what is not the person")
    anna.press("a")
    cards(anna, "approved", 1)
    boris.press("a", hold="ctrl")
    boris.press("n")
    boris.wait("document.querySelector('#sure').open")
    assert "1 of them has a verdict already" in boris.text("#sure p")
    boris.press("Enter")
    cards(boris, "nobody", 5)
    boris.wait("document.querySelector('.notice').innerText.startsWith('5 nobody here, 1 not:')")
    assert "anna approved it" in boris.text(".notice li")
    assert group.status(2)[:1] == ("approved",)


def test_the_large_view_goes_on_to_the_next_picture(opened: Open, group: World) -> None:
    tab = opened("anna")
    tab.press("Enter")
    tab.wait(
        "document.querySelector('#large').open && document.querySelector('#large .history, #large aside p:last-child')"
    )
    tab.wait("document.querySelector('#large img')?.naturalWidth === 80")
    assert tab.text("#large h2") == "picture 1"
    assert tab.texts("#large tr td:nth-child(2)") == ["0.95", "0.30"]
    assert "1: 0.95" in tab.evaluate("document.querySelector('#large svg').textContent")
    tab.press("a")
    tab.wait("document.querySelector('#large h2').innerText === 'picture 2'")
    tab.press("ArrowLeft")
    tab.wait("document.querySelector('#large .history')?.innerText.startsWith('anna approved it')")
    tab.wait("!document.querySelector('.card.saving')")  # the history may be quicker than the answer to the verdict
    tab.press("r", "4")
    tab.wait("document.querySelector('#large h2').innerText === 'picture 2'")
    tab.press("Escape")
    tab.wait("!document.querySelector('#large').open")
    tab.wait("document.activeElement.getAttribute('aria-label')?.startsWith('picture 2,')")
    cards(tab, "rejected", 1)
    assert group.status(1) == ("rejected", 2, "anna", "two people in one outline")


def test_filters_narrow_the_page_and_survive_a_reload(opened: Open, group: World) -> None:
    group.segment({0: [person(0.9, (0, 0, 80, 60))], 5: [person(0.9)]}, model=OTHER)
    tab = opened("anna")
    tab.evaluate("document.querySelector('#model').value = 'a'.repeat(64)")
    tab.evaluate("document.querySelector('#model').dispatchEvent(new Event('change'))")
    tab.wait(CARD.format("", 6))
    assert tab.evaluate("document.querySelector('#agreement').hidden") is False
    tab.fill("[name=max_agreement]", "0.75")
    tab.wait(CARD.format("", 1))
    assert tab.texts(".card b") == ["picture 0"]
    tab.evaluate("location.reload()")
    tab.wait("performance.getEntriesByType('navigation')[0].type === 'reload' && " + CARD.format("", 1))
    assert tab.texts(".card b") == ["picture 0"]
    tab.click("button[type=reset]")
    tab.wait(CARD.format("", 6))
    tab.click(".chip.approved")
    tab.click(".chip.unchecked")
    tab.wait("location.hash.includes('statuses=approved&')")
    tab.wait("!document.querySelector('#nothing').hidden")
    assert tab.text("#nothing h2") == "All done here"
    tab.click("#nothing button")
    tab.wait(CARD.format("", 6))


def test_when_all_is_on_the_badlist_the_page_says_so(opened: Open, group: World) -> None:
    tab = opened("anna")
    badlist.add(group.connection, [row.picture_id for row in group.rows.values()])
    tab.press("g")
    tab.wait("document.querySelector('#nothing h2').innerText === 'Nothing to review'")
    assert "on the badlist" in tab.text("#nothing p")


def test_a_verdict_that_cannot_be_saved_is_kept_and_tried_again(opened: Open, group: World) -> None:
    tab = opened("anna")
    with gone(group):
        tab.press("a")
        tab.wait("document.querySelector('[data-kind=unsaved]')")
        said = tab.text("[data-kind=unsaved]")
        assert said.startswith("1 verdict not saved yet: PostgreSQL at 127.0.0.1")
        assert "Nothing is lost: keep this page open, and try again with t." in said
        tab.press("t")
        tab.wait("document.querySelector('[data-kind=unsaved]')")
    cards(tab, "approved", 0)
    tab.press("t")
    cards(tab, "approved", 1)
    assert group.status(1) == ("approved", 1, "anna", "")
    assert tab.evaluate("document.querySelector('[data-kind=unsaved]')") is None


def test_a_picture_that_cannot_be_had_says_why(opened: Open, group: World) -> None:
    group.store.remove(group.rows[2].object_key)
    tab = opened("anna")
    tab.wait("document.querySelector('.card:nth-child(2) .frame p')")
    assert "the store must hold the object" in tab.text(".card:nth-child(2) .frame p")
    tab.press("ArrowRight", "n")
    cards(tab, "nobody", 1)


def test_the_page_fits_a_phone_and_the_dark(opened: Open) -> None:
    tab = opened("anna")
    light = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    tab.resize(390, 800, dark=True)
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") != light
    tab.wait("document.documentElement.scrollWidth <= window.innerWidth")
