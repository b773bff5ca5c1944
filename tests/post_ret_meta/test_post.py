"""Documents arrive once each, every answer of the service has a behaviour of its own, and the ledger knows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import stamina

from silhouette.build_ret_meta.build import build_ret_meta
from silhouette.contracts import ret_meta
from silhouette.database import badlist, connect, posts
from silhouette.errors import GateRefusedError, InputError, ServiceError, SettingError
from silhouette.picture_source.fetcher import Fetcher
from silhouette.picture_source.returned import RetMetaService
from silhouette.post_ret_meta.outcomes import PostRetMetaReport
from silhouette.post_ret_meta.post import post_ret_meta
from tests.database.conftest import login
from tests.download_pictures.faulty_service import (
    Fault,
    FaultyService,
    Served,
    cut_short,
    hang,
    hang_up,
    refusal,
    reset,
    status,
)  # fmt: skip
from tests.loopback import TOKEN
from tests.ret_meta_world import GROUP, SEGMENTER, World, config_of

Post = Callable[..., PostRetMetaReport]
NAMES = ("p0", "p1", "p2")


@pytest.fixture
def service(world: World) -> Iterator[FaultyService]:
    """Three pictures with documents, and a service that has the same."""
    for name in NAMES:
        world.add(name, "red")
    world.write()
    build(world)
    served = {name: Served(data=b"x") for name in NAMES}
    with FaultyService(served, group=GROUP) as opened:
        yield opened


def build(world: World, **model: Any) -> None:
    build_ret_meta(groups=[GROUP], config=config_of(summer_test=world.model(**model)), **world.tools)


@pytest.fixture
def post(world: World, service: FaultyService) -> Iterator[Post]:
    """Post with half a second of patience."""
    host, _, port = service.url.removeprefix("http://").partition(":")
    fetcher = Fetcher(token=TOKEN, token_origin=("http", host, int(port)), allowed={(host, int(port))}, silence_s=0.5)
    client = RetMetaService(service.settings, fetcher=fetcher)

    def run(*groups: str, **options: Any) -> PostRetMetaReport:
        wanted = {"store": world.store, "connection": world.connection, "service": client, **options}
        return post_ret_meta(groups=groups or [GROUP], **wanted)

    yield run
    client.close()


def taken(service: FaultyService) -> dict[str, int]:
    return {name: len(documents) for name, documents in service.returned.items() if documents}


def ledger(world: World, service: FaultyService) -> dict[str, posts.Post]:
    return posts.latest(world.connection, service=service.url, picture_ids=NAMES)


def rows(world: World) -> int:
    found = world.connection.execute("SELECT count(*) FROM ret_meta_posts").fetchone()
    assert found is not None
    return int(found[0])


def test_documents_arrive_as_they_are_stored_with_their_digest_as_key(
    world: World, service: FaultyService, post: Post
) -> None:
    report = post()
    assert (report.posted, report.known, report.failed) == (3, 0, {})
    for name in NAMES:
        (received,) = service.returned[name]
        assert received.body == world.store.get_bytes(ret_meta.store_key(name))
        assert received.key == world.document(name).content_digest
        kept = ledger(world, service)[name]
        assert (kept.receipt, kept.content_digest) == (f"receipt {name} 1", received.key)
    assert service.tokens == {f"Bearer {TOKEN}"}


def test_what_has_arrived_is_not_sent_again(world: World, service: FaultyService, post: Post) -> None:
    post()
    report = post()
    assert (report.posted, report.known) == (0, 3)
    assert (service.puts.total(), service.questions.total(), rows(world)) == (3, 0, 3)


def test_a_document_made_again_with_equal_content_is_not_sent_again(
    world: World, service: FaultyService, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    post()
    monkeypatch.setattr("silhouette.build_ret_meta.pending.__version__", "99")
    build(world)
    assert post().known == 3


def test_changed_content_is_sent_and_so_is_what_it_was_before(world: World, service: FaultyService, post: Post) -> None:
    post()
    build(world, strength=3.0)
    assert post().posted == 3
    build(world)
    assert post().posted == 3
    assert taken(service) == dict.fromkeys(NAMES, 3)
    assert service.returned["p0"][0].key == service.returned["p0"][2].key


def test_the_service_is_asked_when_it_shall_be(world: World, service: FaultyService, post: Post) -> None:
    post()
    service.returned["p1"].clear()  # it lost one
    assert post().known == 3
    report = post(ask=True)
    assert (report.posted, report.known) == (1, 2)
    assert taken(service) == dict.fromkeys(NAMES, 1)
    assert rows(world) == 4


def test_a_bounded_number_is_on_its_way(world: World, service: FaultyService, post: Post) -> None:
    for number in range(30):
        world.add(f"q{number}", "red")
        service.pictures[f"q{number}"] = Served(data=b"x")
    world.write()
    build(world)
    service.pause_s = 0.02
    assert post(workers=3).posted == 33
    assert 1 < service.on_their_way <= 3


def test_a_login_with_the_rights_of_these_steps_is_enough(
    world: World, service: FaultyService, post: Post, postgres_dsn: str
) -> None:
    with login(postgres_dsn, role="silhouette_read") as dsn:
        with connect(dsn) as limited:
            world.connection, owner = limited, world.connection
            build(world, strength=4.0)
            with pytest.raises(ServiceError, match="must have the rights of this step"):
                post(connection=limited)
            owner.execute(f"GRANT silhouette_ingest TO {limited.info.user}")
            assert post(connection=limited).posted == 3


# ---- every answer has its behaviour


@pytest.mark.parametrize("code", [401, 403])
def test_a_refused_token_ends_the_run(world: World, service: FaultyService, post: Post, code: int) -> None:
    for name in NAMES:
        service.fail_document(name, status(code), times=9)
    with pytest.raises(SettingError, match=f"refused the token .it answered {code}.; correct SILHOUETTE_PICTURE_SERV"):
        post()
    service.heal()
    assert post().posted == 3
    assert taken(service) == dict.fromkeys(NAMES, 1)


def test_documents_that_had_no_turn_when_a_run_ended_are_not_in_doubt(
    world: World, service: FaultyService, post: Post
) -> None:
    for name in NAMES:
        service.fail_document(name, status(401), times=9)
    with pytest.raises(SettingError):
        post(workers=1)
    found = ledger(world, service)
    assert sum(row.in_doubt for row in found.values()) == service.puts.total() < 3
    unsent = [row for row in found.values() if not row.in_doubt]
    assert {row.failure for row in unsent} == {"unsent: the run ended before its turn"}
    assert not any(row.has_arrived for row in unsent)
    service.heal()
    assert post().posted == 3
    assert taken(service) == dict.fromkeys(NAMES, 1)


@pytest.mark.parametrize(
    ("code", "reason", "told"),
    [
        (404, "unknown_picture", "the service has no such picture: was it withdrawn"),
        (409, "conflict", "its bytes are others; the service has other bytes of the picture"),
        (413, "too_large", "the service takes no document of"),
        (422, "refused", "the service does not accept what the document says: correct that, build, then post"),
        (418, "unexpected", "it is no answer of docs/picture_service.openapi.yaml"),
        (302, "unexpected", "it is no answer of docs/picture_service.openapi.yaml"),
    ],
)
def test_a_refused_document_is_told_and_recorded_and_the_others_arrive(
    world: World, service: FaultyService, post: Post, caplog: pytest.LogCaptureFixture,
    code: int, reason: str, told: str,
) -> None:  # fmt: skip
    service.fail_document("p1", refusal(code, "word", "its bytes are others", Location="http://127.0.0.1:1/"))
    report = post()
    assert (report.posted, report.failed) == (2, {reason: 1})
    assert told in caplog.text
    assert f"answered {code}: its bytes are others" in caplog.text
    assert service.puts["p1"] == 1, "what is an answer is not tried again"
    assert ledger(world, service)["p1"].failure.startswith(reason)
    with pytest.raises(ServiceError, match=f"every document must arrive, 1 did not .1 {reason}."):
        report.require_all()
    again = post()
    assert (again.posted, again.known, again.failed) == (1, 2, {})
    assert taken(service) == dict.fromkeys(NAMES, 1)


def test_a_conflict_with_the_very_document_is_none(world: World, service: FaultyService, post: Post) -> None:
    service.fail_document("p1", refusal(409, "conflict", "it is here"), taken=True)
    assert (post().posted, post().known) == (3, 3)


@pytest.mark.parametrize("code", [408, 425, 429, 503])
def test_a_busy_service_is_asked_again_without_a_question(
    world: World, service: FaultyService, post: Post, code: int
) -> None:
    stamina.set_testing(True, attempts=3)
    service.fail_document("p1", status(code, Retry_After="0"), times=2)
    assert post().posted == 3
    assert (service.puts["p1"], service.questions["p1"]) == (3, 0)


AMBIGUOUS: dict[str, Fault] = {
    "500": status(500), "502": status(502), "504": status(504), "silence": hang(1.5), "hang up": hang_up,
    "reset": reset, "half an answer": cut_short, "200 without a receipt": refusal(200, "", ""),
}  # fmt: skip


@pytest.mark.parametrize("fault", AMBIGUOUS)
def test_a_document_whose_answer_was_lost_is_asked_for_and_not_sent_again(
    world: World, service: FaultyService, post: Post, fault: str
) -> None:
    stamina.set_testing(True, attempts=3)
    service.fail_document("p1", AMBIGUOUS[fault], taken=True)
    assert post().posted == 3
    assert (service.puts["p1"], service.questions["p1"]) == (1, 1)
    assert taken(service) == dict.fromkeys(NAMES, 1)
    assert ledger(world, service)["p1"].receipt == "receipt p1 1"


@pytest.mark.parametrize("fault", AMBIGUOUS)
def test_a_document_that_did_not_arrive_is_sent_again_after_a_question(
    world: World, service: FaultyService, post: Post, fault: str
) -> None:
    stamina.set_testing(True, attempts=3)
    service.fail_document("p1", AMBIGUOUS[fault])
    assert post().posted == 3
    assert (service.puts["p1"], service.questions["p1"]) == (2, 1)
    assert taken(service) == dict.fromkeys(NAMES, 1)


def test_the_last_attempt_is_asked_for_as_well(world: World, service: FaultyService, post: Post) -> None:
    stamina.set_testing(True, attempts=2)
    service.fail_document("p1", status(500), times=1)
    service.fail_document("p1", status(500), times=1, taken=True)
    assert post().posted == 3
    assert taken(service) == dict.fromkeys(NAMES, 1)


def test_a_document_in_doubt_is_asked_for_by_the_next_run(world: World, service: FaultyService, post: Post) -> None:
    service.fail_document("p1", status(500))
    report = post()
    assert report.failed == {"in_doubt": 1}
    assert ledger(world, service)["p1"].in_doubt
    service.take("p1", world.document("p1").content_digest, b"{}")  # it arrives late
    service.forget()
    again = post()
    assert (again.posted, again.known) == (1, 2)
    assert (service.puts["p1"], service.questions["p1"]) == (1, 2)
    assert ledger(world, service)["p1"].receipt == "receipt p1 1"
    assert taken(service) == dict.fromkeys(NAMES, 1)


def test_a_receipt_of_another_document_is_against_the_contract(
    world: World, service: FaultyService, post: Post
) -> None:
    def lie(handler: Any, _data: bytes) -> None:
        handler.answer(200, json.dumps({"receipt": "r", "content_digest": "f" * 64}).encode())

    service.fail_document("p1", lie)
    assert post().failed == {"in_doubt": 1}
    assert post().posted == 1


def test_a_service_that_is_down_ends_the_run_after_a_few_documents(
    world: World, service: FaultyService, post: Post
) -> None:
    for number in range(30):
        world.add(f"q{number}", "red")
        service.pictures[f"q{number}"] = Served(data=b"x")
        service.fail_document(f"q{number}", status(503), times=99)
    world.write()
    build(world)
    with pytest.raises(ServiceError, match="must answer, it did not for 8 documents in succession; start it"):
        post(workers=2)
    assert service.puts.total() < 20
    service.heal()
    assert post().failed == {}
    assert set(taken(service).values()) == {1}
    assert len(taken(service)) == 33


# ---- what must not be sent


def test_a_group_that_the_service_does_not_know_is_refused(world: World, service: FaultyService, post: Post) -> None:
    world.add("x", "red", groups=["test"])
    world.write()
    with pytest.raises(InputError, match=r"does not know 'test' \(it has 'summer test'\); correct the name"):
        post(GROUP, "test")
    assert service.puts.total() == 0


def test_a_group_without_documents_is_refused(world: World, service: FaultyService, post: Post) -> None:
    for name in NAMES:
        world.store.remove(ret_meta.store_key(name))
    with pytest.raises(InputError, match="must have documents, none has; run `silhouette ret-meta build`"):
        post()


@pytest.mark.parametrize(("passed", "told"), [(False, "refused by it"), (None, "never judged")])
def test_answers_of_a_model_that_did_not_pass_its_gate_are_sent_by_its_name_only(
    world: World, service: FaultyService, post: Post, passed: bool | None, told: str
) -> None:
    model = world.model(passed=bool(passed))
    if passed is None:
        model = model.model_copy(update={"evaluation": ""})
    build_ret_meta(groups=[GROUP], config=config_of(summer_test=model), **world.tools)
    for options in ({}, {"dry_run": True}, {"accept_refused": ["another"]}):
        with pytest.raises(
            GateRefusedError, match=f"that of group 'summer test' was {told} .*--accept-refused 'summer"
        ):
            post(**options)
    assert service.puts.total() == 0
    assert post(accept_refused=[GROUP]).posted == 3


def test_a_document_of_a_newer_schema_is_not_sent(world: World, service: FaultyService, post: Post) -> None:
    world.store.put_bytes(ret_meta.store_key("p0"), b'{"schema_version": 7}')
    with pytest.raises(InputError, match="schema 2 or older, got schema 7; install the Silhouette that wrote it"):
        post(workers=1)
    assert service.puts["p0"] == 0


def test_a_badlisted_picture_is_not_sent_and_told_when_the_service_has_it(
    world: World, service: FaultyService, post: Post, caplog: pytest.LogCaptureFixture
) -> None:
    badlist.add(world.connection, ["p0"])  # after its document was built
    report = post()
    assert (report.posted, report.badlisted, report.still_there) == (2, 1, 0)
    assert taken(service) == {"p1": 1, "p2": 1}
    badlist.add(world.connection, ["p1"])
    report = post()
    assert (report.known, report.badlisted, report.still_there, report.failed) == (1, 2, 1, {})
    assert "p1: it is on the badlist, and the service has a document of it from before" in caplog.text
    caplog.clear()
    world.rows[GROUP] = [row for row in world.rows[GROUP] if row.picture_id == "p2"]
    world.write()  # as the next download leaves the two out
    report = post()
    assert (report.known, report.badlisted, report.still_there, report.failed) == (1, 2, 1, {})
    assert "p1: it is on the badlist, and the service has a document of it from before" in caplog.text


def test_a_document_of_other_bytes_is_not_sent(world: World, service: FaultyService, post: Post) -> None:
    world.rows[GROUP] = [row for row in world.rows[GROUP] if row.picture_id != "p0"]
    world.add("p0", "red", [("blue", 80, 1.0)])
    world.write()
    assert post().failed == {"stale": 1}
    assert service.puts["p0"] == 0


def test_one_run_at_a_time_posts_to_a_service(
    world: World, service: FaultyService, post: Post, postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("silhouette.post_ret_meta.post._LOCK_WAIT_S", 0.3)
    refused: list[str] = []

    def second(_number: Any = None) -> None:
        with connect(postgres_dsn) as other, pytest.raises(ServiceError) as caught:
            post(connection=other)
        refused.append(str(caught.value))

    take = service.take

    def taking(*arguments: Any) -> Any:
        if not refused:
            second()
        return take(*arguments)

    service.take = taking  # type: ignore[method-assign]
    assert post(workers=1).posted == 3
    assert refused
    assert "one run at a time must post to the picture service" in refused[0]


# ---- the dry run


def test_a_dry_run_says_what_would_change_and_changes_nothing(world: World, service: FaultyService, post: Post) -> None:
    told: list[str] = []
    report = post(dry_run=True, tell=told.append)
    assert (report.posted, report.dry_run, rows(world), service.puts.total()) == (3, True, 0, 0)
    assert min(told) == "p0\n    new: 1 person; the main one: summer test 'red' (0.65)"
    post()
    row = world.rows[GROUP][1]
    world.decide(row, "approved")
    build(world)
    told.clear()
    report = post(dry_run=True, tell=told.append)
    assert (report.posted, report.known) == (1, 2)
    assert told == ["p1\n    review: unchecked -> approved"]
    world.draw(row, "anna", [("red", 60, 1.0)])
    build(world)
    told.clear()
    post(dry_run=True, tell=told.append)
    assert told[0].startswith(f"p1\n    contours: segmenter {SEGMENTER[:12]} -> drawn by 'anna'")
    build(world, strength=3.0)
    told.clear()
    post(dry_run=True, tell=told.append)
    (lines,) = (lines for lines in told if lines.startswith("p0\n"))
    assert "summer test: onnx_sha256 1af75db503cc -> 0c52ef582859, experiment e9 -> e3" in lines
    assert "person 0, summer test: 'red' (0.65) -> 'red' (0.44)" in lines
    assert set(taken(service).values()) == {1}


def test_a_dry_run_compares_with_whatever_the_service_has(world: World, service: FaultyService, post: Post) -> None:
    service.take("p0", "f" * 64, b'{"schema_version": 2}')
    told: list[str] = []
    post(dry_run=True, tell=told.append)
    assert "replaces one that cannot be compared: the service's document must be" in next(
        lines for lines in told if lines.startswith("p0\n")
    )


def test_names_of_strangers_give_no_orders_to_a_terminal(
    world: World, service: FaultyService, post: Post, caplog: pytest.LogCaptureFixture
) -> None:
    name = "p\n\x1b[2Jerror: all is lost"
    world.add(name, "red")
    world.write()
    build(world)
    told: list[str] = []
    post(dry_run=True, tell=told.append)
    assert any(lines.startswith(repr(name)) for lines in told)
    service.pictures[name] = Served(data=b"x")
    service.fail_document(name, refusal(422, "bad", "no\x1b[2J"))
    assert post().failed == {"refused": 1}
    assert "\x1b" not in "".join(told) + caplog.text
