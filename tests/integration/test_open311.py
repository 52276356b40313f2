"""Open311 GeoReport v2: the same cases in its forms, JSON and XML, with its errors."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import asyncpg
import httpx
import pytest
from api_world import World, start
from nats.aio.client import Client

from services.chassis.settings import Settings
from services.rules.tenants import Tenant

SEOUL = {"jurisdiction_id": "seoul"}
PETITION = {
    **SEOUL,
    "service_code": "inquiry",
    "description": "가로등이 꺼져 있습니다\n사흘째입니다",
    "lat": "37.5",
    "long": "127.0",
    "first_name": "길동",
    "last_name": "홍",
    "phone": "010-0000-0001",
    "attribute[applicant_address]": "서울시 중구 1",
}


@pytest.fixture
async def world(
    settings: Callable[..., Settings], tenants: dict[str, Tenant], nc: Client, pool: asyncpg.Pool, tmp_path: Path
) -> AsyncIterator[World]:
    """A running city."""
    async with AsyncExitStack() as stack:
        yield await start(stack, settings, tenants, nc, pool, tmp_path)


async def test_a_petition_is_filed_and_followed(world: World) -> None:
    """From the services to the expected date, in JSON and in XML, and nothing personal in any answer."""

    async def get(path: str, **query: str) -> httpx.Response:
        return await world.http.get(f"/open311/v2/{path}", params={**SEOUL, **query})

    found = (await world.http.get("/open311/v2/discovery.json")).json()  # asks for no key and no municipality
    [endpoint] = found["endpoints"]
    assert endpoint["url"] == "http://intake/open311/v2"
    assert endpoint["formats"] == ["text/xml", "application/json"]
    root = ElementTree.fromstring((await world.http.get("/open311/v2/discovery.xml")).content)
    assert root.tag == "discovery"
    assert [one.text for one in root.findall("endpoints/endpoint/formats/format")] == ["text/xml", "application/json"]

    services = (await get("services.json")).json()
    assert {"service_code": "inquiry", "service_name": "질의", "type": "realtime", "metadata": True}.items() <= next(
        service for service in services if service["service_code"] == "inquiry"
    ).items()
    root = ElementTree.fromstring((await get("services.xml")).content)
    assert (root.tag, root[0].tag, root[0].findtext("service_code")) == ("services", "service", "inquiry")
    definition = (await get("services/inquiry.json")).json()
    # Seoul registers nothing without an address.
    assert [(row["code"], row["required"]) for row in definition["attributes"]] == [
        ("applicant_address", True),
        ("notify_by", False),
    ]
    root = ElementTree.fromstring((await get("services/inquiry.xml")).content)
    assert [one.findtext("code") for one in root.findall("attributes/attribute")] == ["applicant_address", "notify_by"]
    assert root.findtext("attributes/attribute/values/value/key") == "sms"

    key = {"api_key": world.keys["web"]}
    answer = await world.http.post("/open311/v2/requests.json", data={**PETITION, **key})
    assert answer.status_code == 200, answer.text
    [filed] = answer.json()
    case, receipt = filed["service_request_id"], filed["service_notice"]
    await world.folded()
    [found] = (await get(f"requests/{case}.json", **key)).json()
    assert found == {
        "service_request_id": case,
        "status": "open",
        "service_name": "질의",
        "service_code": "inquiry",
        "service_notice": receipt,
        "requested_datetime": "2026-11-02T10:00:00+09:00",
        "updated_datetime": "2026-11-02T10:00:00+09:00",
        # Seven working days, the day of receipt the first.
        "expected_datetime": "2026-11-11T00:00:00+09:00",
    }
    listed = await get("requests.xml", **key, status="open", service_code="inquiry")
    assert [one.findtext("service_request_id") for one in ElementTree.fromstring(listed.content)] == [case]
    assert (await get("requests.json", **key, service_request_id=f"{case},nothing")).json() == [found]
    assert (await get("requests.json", **key, status="closed")).json() == []
    assert (await get("requests.json", **key, end_date="2026-11-02T09:59:59+09:00")).json() == []
    assert (await get("requests.json", **key, start_date="2026-11-02T10:00:00+09:00")).json() == [found]
    event = await world.pool.fetchval("select id from read.event_fate where type = 'complaint.received'")
    assert (await get(f"tokens/{event}.json", **key)).json() == [{"service_request_id": case, "token": event}]
    stored = await world.pool.fetchval('select data from read.case_facts where "case" = $1', case)
    for text in (answer.text, listed.text, stored):
        assert "홍길동" not in text
        assert "가로등" not in text


async def test_errors_have_its_own_form(world: World) -> None:
    """A list of code and description; nothing of another system's is found; no value comes back."""
    web, desk = {"api_key": world.keys["web"]}, {"api_key": world.keys["desk"]}
    sent = await world.http.post("/open311/v2/requests.json", data={**PETITION, **web})
    case = sent.json()[0]["service_request_id"]

    async def refused(status: int, word: str, method: str, path: str, **more: Any) -> None:
        answer = await world.http.request(method, f"/open311/v2/{path}", headers={"Accept-Language": "en"}, **more)
        assert answer.status_code == status, answer.text
        if ".xml" in path:
            root = ElementTree.fromstring(answer.content)
            assert (root.tag, root.findtext("error/code")) == ("errors", str(status))
            assert word in str(root.findtext("error/description"))
        else:
            [error] = answer.json()
            assert (error["code"], word in error["description"]) == (status, True), error

    await refused(400, "jurisdiction_id", "GET", "services.json")
    await refused(404, "municipality", "GET", "services.xml", params={"jurisdiction_id": "atlantis"})
    await refused(404, "service", "GET", "services/nothing.xml", params=SEOUL)
    await refused(404, ".json or .xml", "GET", "services.yaml", params=SEOUL)
    await refused(401, "key", "GET", f"requests/{case}.json", params=SEOUL)
    await refused(404, "case", "GET", f"requests/{case}.xml", params={**SEOUL, **desk})
    await refused(404, "event", "GET", "tokens/nothing.json", params={**SEOUL, **desk})
    await refused(403, "municipality", "GET", "requests.json", params={"jurisdiction_id": "mapo", **web})
    await refused(400, "RFC 3339", "GET", "requests.json", params={**SEOUL, **web, "start_date": "gestern"})
    await refused(400, "status", "GET", "requests.json", params={**SEOUL, **web, "status": "lost"})
    unnamed = {name: value for name, value in PETITION.items() if name not in ("first_name", "last_name")}
    await refused(400, "anonymous", "POST", "requests.xml", data={**unnamed, **web})
    wrong = {**PETITION, **web, "attribute[notify_by]": "비둘기"}
    await refused(400, "literal_error", "POST", "requests.json", data=wrong)
    await refused(400, "", "POST", "requests.json", files={"media": b"x"}, data={**PETITION, **web})
