"""What the page is told: the queue in its order, under its filters, in pages; pictures; and what cannot be said."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from silhouette.database import badlist
from silhouette.database.people import PersonRow
from silhouette.imaging import open_picture
from silhouette.review.app import Room
from silhouette.review.connections import Connections
from silhouette.review.pictures import THUMBNAIL_SIDE, Pictures
from silhouette.settings import StoreSettings
from silhouette.store import Store
from tests.loopback import jpeg
from tests.review.conftest import GROUP, HEIGHT, MODEL, OTHER, WIDTH, World, client_of, make_room, person

BY_DOUBT = [1, 2, 4, 3, 5, 0]


def listed(client: TestClient, world: World, **query: Any) -> list[int]:
    """The numbers of the pictures that a page lists."""
    answer = client.get("/api/pictures", params={"model": MODEL, **query})
    assert answer.status_code == 200, answer.text
    numbers = {row.sha256: number for number, row in world.rows.items()}
    return [numbers[card["queued"]["review"]["picture_sha256"]] for card in answer.json()["cards"]]


def test_the_page_learns_once_what_there_is(client: TestClient) -> None:
    said = client.get("/api/group").json()
    assert (said["group"], said["labels"], said["reviewer"]) == (GROUP, ["dress", "skirt"], "anna")
    assert [(model["model_digest"], model["pictures"]) for model in said["models"]] == [(MODEL, 6)]
    assert said["model"] == MODEL
    assert len(said["reasons"]) == 6


def test_the_most_doubtful_come_first_and_the_surest_when_asked(client: TestClient, group: World) -> None:
    assert listed(client, group) == BY_DOUBT
    assert listed(client, group, order="sure") == BY_DOUBT[::-1]


def test_a_card_says_all_that_is_drawn(client: TestClient, group: World) -> None:
    card = client.get("/api/pictures").json()["cards"][0]
    assert card["names"] == [{"picture_id": "picture 1", "label": "dress"}]
    queued = card["queued"]
    assert (queued["width"], queued["height"], queued["agreement"]) == (WIDTH, HEIGHT, None)
    assert queued["doubt"] == pytest.approx(0.7)
    assert queued["least_score"] == pytest.approx(0.3)
    assert queued["largest_share"] == pytest.approx(0.25)
    assert [who["path"] for who in card["people"]] == ["M0 0 0 29 39 29 39 0Z", "M50 30 50 49 69 49 69 30Z"]
    assert [who["box_xyxy"] for who in card["people"]] == [[0, 0, 40, 30], [50, 30, 70, 50]]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"label": "skirt"}, [4]),
        ({"label": "other"}, []),
        ({"min_score": 0.8}, [5, 0]),
        ({"max_score": 0.6}, [1, 4, 3]),
        ({"min_score": 0.6, "max_score": 0.8}, [4, 3, 5]),
        ({"min_size": 0.5}, [0]),
        ({"max_size": 0.1}, [2, 3]),
        ({"min_people": 2}, [1]),
        ({"max_people": 0}, [2]),
        ({"min_people": 1, "max_people": 1, "label": "dress"}, [3, 5, 0]),
        ({"max_agreement": 1}, []),
        ({"statuses": "approved"}, [5]),
        ({"statuses": "approved,nobody"}, [2, 5]),
        ({"statuses": "rejected"}, [3]),
        ({"statuses": "unchecked"}, [1, 4, 0]),
        ({"statuses": ""}, BY_DOUBT),
    ],
)
def test_a_filter_leaves_what_fits(
    client: TestClient, group: World, query: dict[str, Any], expected: list[int]
) -> None:
    for number, status, reason in ((5, "approved", ""), (2, "nobody", ""), (3, "rejected", "cut")):
        group.connection.execute(
            "UPDATE segmentations SET status = %s, reviewer = 'x', reason = %s, revision = revision + 1"
            " WHERE picture_sha256 = %s",
            (status, reason, group.sha(number)),
        )
    assert listed(client, group, **query) == expected
    counts = client.get("/api/counts", params={"model": MODEL, **query}).json()
    if "statuses" in query:
        assert counts["statuses"] == {"unchecked": 3, "approved": 1, "rejected": 1, "nobody": 1}
    else:
        assert counts["total"] == len(expected)
    assert counts["prepared"] == counts["total"]


def test_disagreement_of_two_models_is_a_filter_and_adds_to_the_doubt(group: World, connections: Connections) -> None:
    group.segment({0: [person(0.9, (0, 0, 80, 60))], 5: [person(0.9)], 2: []}, model=OTHER)
    client = client_of(make_room(group, connections))
    assert listed(client, group, max_agreement=0.5) == [0]
    assert listed(client, group, max_agreement=1) == [0, 2, 5]
    assert listed(client, group) == [1, 0, 2, 4, 3, 5], "0 agrees by a half: its doubt is 1 - 0.9 * 0.5"
    assert [item["model_digest"] for item in client.get("/api/group").json()["models"]] == [OTHER, MODEL]


@pytest.mark.parametrize("order", ["doubtful", "sure"])
@pytest.mark.parametrize("limit", [1, 2, 5, 6])
def test_pages_follow_one_another_and_show_everything_once(
    client: TestClient, group: World, limit: int, order: str
) -> None:
    found: list[int] = []
    after = ""
    while after is not None:
        query = {"limit": limit, "after": after, "order": order}
        found += listed(client, group, **query)
        after = client.get("/api/pictures", params={"model": MODEL, **query}).json()["after"]
    assert found == (BY_DOUBT if order == "doubtful" else BY_DOUBT[::-1])


@pytest.mark.parametrize("at_once", [1, 4, 6, 7])
def test_everything_that_fits_is_listed_with_what_a_verdict_has_to_name(
    client: TestClient, group: World, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr("silhouette.review.desk.MOST_LISTED", at_once)
    group.connection.execute(
        "UPDATE segmentations SET status = 'approved', reviewer = 'x', revision = revision + 1"
        " WHERE picture_sha256 = %s",
        (group.sha(4),),
    )
    badlist.add(group.connection, ["picture 5"])
    found: list[dict[str, Any]] = []
    after = ""
    while after is not None:
        answer = client.get("/api/fitting", params={"model": MODEL, "max_score": 0.9, "after": after}).json()
        found, after = found + answer["pictures"], answer["after"]
    assert found == [
        {"sha256": group.sha(1), "revision": 0, "status": "unchecked"},
        {"sha256": group.sha(4), "revision": 1, "status": "approved"},
        {"sha256": group.sha(3), "revision": 0, "status": "unchecked"},
        {"sha256": group.sha(0), "revision": 0, "status": "unchecked"},
    ]
    assert client.get("/api/fitting", params={"model": MODEL, "order": "sure"}).status_code == 400


def test_a_page_goes_on_where_it_was_although_verdicts_change_what_fits(client: TestClient, group: World) -> None:
    first = client.get("/api/pictures", params={"statuses": "unchecked", "limit": 2}).json()
    group.connection.execute(
        "UPDATE segmentations SET status = 'approved', reviewer = 'x', revision = 1 WHERE picture_sha256 = ANY(%s)",
        ([group.sha(1), group.sha(2)],),
    )
    assert listed(client, group, statuses="unchecked", limit=2, after=first["after"]) == [4, 3]


def test_the_large_view_has_every_point_and_every_verdict(client: TestClient, group: World) -> None:
    group.connection.execute(
        "UPDATE segmentations SET status = 'approved', reviewer = 'boris', revision = 1 WHERE picture_sha256 = %s",
        (group.sha(0),),
    )
    detail = client.get(f"/api/pictures/{group.sha(0)}", params={"model": MODEL}).json()
    assert detail["card"]["queued"]["review"]["status"] == "approved"
    (change,) = detail["changes"]
    assert (change["reviewer"], change["from_status"], change["to_status"]) == ("boris", "unchecked", "approved")


def test_a_badlisted_picture_is_nowhere(client: TestClient, room: Room, group: World) -> None:
    address = f"/thumbnails/{group.sha(1)}"
    assert client.get(address).status_code == 200
    badlist.add(group.connection, ["picture 1"])
    assert listed(client, group) == BY_DOUBT[1:]
    assert client.get("/api/counts").json()["total"] == 5
    for gone in (address, f"/pictures/{group.sha(1)}", f"/api/pictures/{group.sha(1)}"):
        answer = client.get(gone)
        assert answer.status_code in (400, 404)
        assert "badlist" in answer.json()["error"] or "not" in answer.json()["error"]
    assert client.get(address, headers={"If-None-Match": f'"{group.sha(1)}"'}).status_code == 404
    assert group.sha(1) not in client.get("/api/pictures").text


def test_a_badlisted_id_takes_the_same_bytes_under_other_ids_with_it(client: TestClient, group: World) -> None:
    group.connection.execute(
        "INSERT INTO pictures SELECT 's3://old', 'another name', 'another name', stamp, etag, sha256, size_bytes,"
        " width, height, object_key, working_key, working_width, working_height, phash, reason, detail, judged_by,"
        " store_id FROM pictures WHERE picture_id = 'picture 4'"
    )
    badlist.add(group.connection, ["another name"])
    assert listed(client, group) == [1, 2, 3, 5, 0]
    assert client.get(f"/pictures/{group.sha(4)}").status_code == 404


def test_a_picture_that_left_the_group_is_not_shown(client: TestClient, group: World) -> None:
    group.label(0, 1, 2, 3, 4)
    assert listed(client, group) == [1, 2, 4, 3, 0]
    assert client.get(f"/thumbnails/{group.sha(5)}").status_code == 404


def test_damaged_contours_are_shown_as_such(group: World, connections: Connections) -> None:
    group.put(6)
    group.segment({6: [PersonRow(box_xyxy=(1, 2, 3, 4), score=0.5, contours=b"\x01\x00\xff")]})
    client = client_of(make_room(group, connections))
    detail = client.get(f"/api/pictures/{group.sha(6)}", params={"model": MODEL}).json()
    assert detail["card"]["people"] == [{"box_xyxy": [1.0, 2.0, 3.0, 4.0], "score": 0.5, "path": ""}]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"statuses": "perhaps"}, "statuses.0: Input should be 'unchecked', 'approved', 'rejected' or 'nobody'"),
        ({"min_score": "2"}, "min_score: Input should be less than or equal to 1, got '2'; reload the page"),
        ({"min_score": "nan"}, "min_score: "),
        ({"max_people": "-1"}, "max_people: Input should be greater than or equal to 0, got '-1'"),
        ({"min_people": "9" * 30}, "min_people: "),
        ({"limit": "0"}, "limit: "),
        ({"limit": "100000"}, "limit: "),
        ({"order": "random"}, "order: "),
        ({"after": "here"}, "after: Value error, a place is that of an earlier page, got 'here'"),
        ({"after": "x:1"}, "after.doubt: "),
        ({"after": f"0.5:{'9' * 30}"}, "after: "),
        ({"label": "a\0b"}, "label: Value error, a label has no NUL"),
        ({"colour": "red"}, "colour: Extra inputs are not permitted"),
        ({"model": "c" * 64}, "a model must be one that has seen the group (aaaaaaaaaaaa), got 'cccc"),
    ],
)
def test_what_cannot_be_asked_is_one_line(client: TestClient, query: dict[str, str], message: str) -> None:
    for address in ("/api/pictures", "/api/counts"):
        answer = client.get(address, params=query)
        assert answer.status_code == 400
        said = answer.json()["error"]
        assert said.startswith(message)
        assert len(said.splitlines()) == 1


def test_a_thumbnail_is_small_made_once_and_kept_by_the_browser(
    group: World, connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = jpeg(9, width=2000, height=1000)
    key = f"pictures/large-{group.sha(0)}.jpg"
    group.store.put_bytes(key, data)
    group.keep(0, object_key=key)
    read: list[str] = []
    get_bytes = Store.get_bytes
    monkeypatch.setattr(Store, "get_bytes", lambda self, key, **more: read.append(key) or get_bytes(self, key, **more))
    client = client_of(make_room(group, connections))
    for _ in range(3):
        answer = client.get(f"/thumbnails/{group.sha(0)}")
        assert answer.headers["content-type"] == "image/jpeg"
        assert open_picture(answer.content).width == THUMBNAIL_SIDE
    assert read == [key]
    assert answer.headers["cache-control"] == "private, max-age=86400, immutable"
    again = client.get(f"/thumbnails/{group.sha(0)}", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_thumbnails_take_no_more_memory_than_they_may(group: World, connections: Connections) -> None:
    one = len(Pictures(group.store, connections, group_id=group.group_id).thumbnail(group.sha(0)).data)
    shelf = Pictures(group.store, connections, group_id=group.group_id, kept_bytes=3 * one)
    for number in (0, 1, 2, 0, 3, 4, 5):
        shelf.thumbnail(group.sha(number))
    assert sum(map(len, shelf._kept.values())) <= 3 * one
    assert list(shelf._kept)[-1] == group.sha(5)
    assert group.sha(1) not in shelf._kept


def test_the_working_copy_is_shown_and_what_browsers_cannot_show_becomes_a_jpeg(
    client: TestClient, group: World
) -> None:
    stored = client.get(f"/pictures/{group.sha(0)}")
    assert (stored.headers["content-type"], stored.content) == ("image/jpeg", jpeg(0, width=WIDTH, height=HEIGHT))
    stream = io.BytesIO()
    Image.fromarray(np.full((HEIGHT, WIDTH, 3), 90, np.uint8)).save(stream, "TIFF")
    group.store.put_bytes("pictures/x.tif", stream.getvalue())
    group.keep(0, object_key="pictures/x.tif")
    turned = client.get(f"/pictures/{group.sha(0)}")
    assert turned.headers["content-type"] == "image/jpeg"
    assert open_picture(turned.content).format == "JPEG"


@pytest.mark.parametrize("name", ["x", "0" * 63, "G" * 64, "0" * 65, "..%2f..%2fetc%2fpasswd", "%00" * 64, "0" * 64])
def test_a_picture_that_is_none_is_not_found(client: TestClient, name: str) -> None:
    for address in ("/thumbnails/", "/pictures/"):
        answer = client.get(address + name)
        assert answer.status_code == 404
        assert len(answer.text.splitlines()) == 1
    assert client.get(f"/api/pictures/{name}").status_code in (400, 404)


def test_a_picture_whose_bytes_are_gone_or_damaged_says_so(client: TestClient, group: World) -> None:
    group.store.put_bytes(group.rows[1].object_key, b"\xff\xd8\xff no more")
    group.store.remove(group.rows[0].object_key)
    gone, damaged = client.get(f"/thumbnails/{group.sha(0)}"), client.get(f"/thumbnails/{group.sha(1)}")
    assert (gone.status_code, damaged.status_code) == (404, 422)
    assert "the store must hold the object" in gone.json()["error"]


def test_without_the_store_pictures_say_so_and_verdicts_go_on(
    group: World, connections: Connections, unused_port: int
) -> None:
    nowhere = StoreSettings(endpoint=f"127.0.0.1:{unused_port}", access_key="k", secret_key="s")
    client = client_of(make_room(group, connections, store=Store(nowhere, patience_s=0.0)))
    answer = client.get(f"/thumbnails/{group.sha(0)}")
    assert answer.status_code == 503
    assert answer.json()["error"].startswith(f"the store at 127.0.0.1:{unused_port} must answer")
    assert client.get("/ready").status_code == 503
    sent = client.post(
        "/api/verdicts",
        json={"model": MODEL, "status": "approved", "pictures": [{"sha256": group.sha(0), "revision": 0}]},
        headers={"X-Silhouette-Review": "1"},
    )
    assert sent.json()["outcomes"][0]["outcome"] == "done"


def test_a_connection_that_broke_while_it_was_idle_is_not_noticed(client: TestClient, group: World) -> None:
    assert client.get("/api/counts").status_code == 200
    ended = group.connection.execute(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    ).fetchone()
    assert ended
    assert ended[0] >= 1
    assert client.get("/api/counts").status_code == 200
