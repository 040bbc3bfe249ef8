"""The mock's executions, seen through its HTTP API."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import datetime

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refold_async.testing import Dedupe, Dialect, Entry, Fault, MockRefold, RunPlan

from .api import Api


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def mock(clock: Clock) -> Iterator[Callable[..., Api]]:
    """Makes running mocks without a rate limit, on the clock."""
    running: list[MockRefold] = []

    def make(**options: object) -> Api:
        server = MockRefold(rate_limit=None, clock=clock, **options)  # type: ignore[arg-type]
        server.start()
        running.append(server)
        return Api(server)

    yield make
    for server in running:
        server.stop()


Make = Callable[..., Api]


def test_a_fired_event_starts_one_run_by_default(mock: Make) -> None:
    api = mock()
    assert api.fire({"n": 1}, instance_tag="t-1", config_id="cfg") == 200
    [run] = api.runs()["docs"]
    assert run["status"] == "COMPLETED"
    assert (run["trigger_application_event"], run["linked_account_id"]) == ("Deal Created", "acct_1")
    assert run["config_id"] == "cfg"
    assert run["associated_application"]["name"] == "Pipedrive"
    assert "t-1" not in str(run), "tags are hidden unless the plan shows them"
    assert datetime.fromisoformat(run["createdAt"]).tzinfo is not None
    [known] = api.server.runs.of(api.server.ledger.fired[0])
    assert known.id == run["_id"]


def test_an_event_may_start_none_or_many_runs_which_share_its_event_id(mock: Make) -> None:
    def count(entry: Entry) -> int:
        return int(entry.payload["count"])

    api = mock(runs=RunPlan(count=count, workflows=("One", "Two")))
    for number in (0, 3, 1):
        api.fire({"count": number})
    docs = api.runs()["docs"]
    assert [run["associated_workflow"]["name"] for run in docs] == ["One", "One", "Two", "One"], "newest first"
    assert len({run["associated_event_id"] for run in docs}) == 2
    assert len({run["associated_event_id"] for run in docs[1:]}) == 1
    assert [run.payload["count"] for run in api.server.runs.all()] == [3, 3, 3, 1]


def test_without_a_plan_nothing_runs(mock: Make) -> None:
    api = mock(runs=None)
    api.fire()
    assert api.runs()["docs"] == []


def test_a_run_is_listed_after_its_lag_and_unknown_before(mock: Make, clock: Clock) -> None:
    lags = iter([5.0, 1.0])
    api = mock(runs=RunPlan(lag=lambda entry: next(lags), order="listed"))
    api.fire({"n": 1})
    api.fire({"n": 2})
    assert api.ids() == []
    first, second = api.server.runs.all()
    clock.now += 1.0
    assert api.ids() == [second.id], "out of order"
    assert api.call("GET", f"execution/{first.id}").status_code == 404
    clock.now += 4.0
    assert api.ids() == [first.id, second.id], "the last one that was listed comes first"


def test_the_list_is_sorted_by_creation_unless_told_otherwise(mock: Make, clock: Clock) -> None:
    lags = iter([5.0, 1.0])
    api = mock(runs=RunPlan(lag=lambda entry: next(lags)))
    api.fire({"n": 1})
    clock.now += 0.5
    api.fire({"n": 2})
    first, second = api.server.runs.all()
    clock.now += 10.0
    assert api.ids() == [second.id, first.id]
    assert api.ids(sortAsc="true") == [first.id, second.id]


def test_a_run_goes_through_its_statuses(mock: Make, clock: Clock) -> None:
    api = mock(runs=RunPlan(duration=10.0, ends=lambda entry: entry.payload["ends"], stopping=2.0))
    api.fire({"ends": "ERRORED"})
    api.fire({"ends": "COMPLETED"})
    second, first = api.ids()
    assert api.runs(status="RUNNING")["totalDocs"] == 2
    assert api.call("POST", f"execution/{second}/stop").json() == {"message": "Stopping instance"}
    assert [run["status"] for run in api.runs()["docs"]] == ["STOPPING", "RUNNING"]
    clock.now += 2.0
    assert [run["status"] for run in api.runs()["docs"]] == ["STOPPED", "RUNNING"]
    clock.now += 8.0
    docs = api.runs()["docs"]
    assert [run["status"] for run in docs] == ["STOPPED", "ERRORED"]
    assert all(run["completion_time"] for run in docs)
    assert docs[1]["instance_execution_time"] == 10_000
    assert api.call("POST", f"execution/{first}/stop").status_code == 200, "stopping what has ended changes nothing"
    assert api.runs(status="ERRORED")["totalDocs"] == 1
    api.server.runs.set_status(first, "A_NEW_STATUS")
    assert api.call("GET", f"execution/{first}").json()["status"] == "A_NEW_STATUS"
    with pytest.raises(KeyError):
        api.server.runs.set_status("unknown", "COMPLETED")


def test_tags_payloads_and_custom_fields_show_as_the_plan_says(mock: Make, clock: Clock) -> None:
    plan = RunPlan(shows_tag=True, tag_field="label", custom_fields=("trigger_id",), duration=1.0, shows_payload=False)
    api = mock(runs=plan, dialect=Dialect(detail_has_id=True))
    api.fire({"trigger_id": "tok"}, instance_tag="tag")
    [run] = api.runs()["docs"]
    assert (run["label"], run["custom_field_values"]) == ("tag", {}), "a snapshot at the end"
    clock.now += 1.0
    detail = api.call("GET", f"execution/{run['_id']}").json()
    assert detail["custom_field_values"] == {"trigger_id": "tok"}
    assert detail["_id"] == run["_id"]
    assert all("input_data" not in node for node in detail["nodes"])


def test_the_detail_has_nodes_and_no_id(mock: Make, clock: Clock) -> None:
    api = mock(runs=RunPlan(duration=1.0))
    api.fire({"token": "abc"})
    path = f"execution/{api.ids()[0]}"
    detail = api.call("GET", path).json()
    assert "_id" not in detail
    assert "createdAt" not in detail
    assert [node["node_status"] for node in detail["nodes"]] == ["Success", "Waiting"]
    clock.now += 1.0
    nodes = api.call("GET", path).json()["nodes"]
    assert nodes[1]["node_status"] == "Success"
    assert nodes[1]["input_data"]["payload"] == {"token": "abc"}


@pytest.mark.parametrize(("dialect", "field"), [("v1", "instanceId"), ("v3", "id")])
def test_a_rerun_fires_and_answers_in_both_ways(mock: Make, dialect: str, field: str) -> None:
    api = mock(dialect=Dialect(rerun=dialect))  # type: ignore[arg-type]
    api.fire({"n": 1})
    [run_id] = api.ids()
    answer = api.call("POST", f"execution/{run_id}/rerun").json()
    assert answer[field] in api.ids()
    assert answer[field] != run_id
    entry = api.server.ledger.entries[-2]
    assert (entry.fired, entry.kind, entry.target) == (True, "trigger", f"/api/v2/public/execution/{run_id}/rerun")
    [run, again] = api.server.runs.all()
    assert (again.payload, again.event) == (run.payload, run.event)
    assert api.call("POST", f"execution/{answer[field]}/rerun").status_code == 200, "a rerun can be rerun"


def test_a_rerun_meets_the_faults_of_triggers(mock: Make) -> None:
    api = mock()
    api.fire()
    [run_id] = api.ids()
    api.server.next(Fault.close_before_firing(), Fault.reset_after_firing())
    for _ in range(2):
        with pytest.raises(httpx.TransportError):
            api.call("POST", f"execution/{run_id}/rerun")
    assert [entry.fired for entry in api.server.ledger.entries[-2:]] == [False, True]
    assert len(api.server.runs.all()) == 2


@pytest.mark.parametrize("path", ["execution/{}", "execution/{}/stop", "execution/{}/rerun"])
def test_an_unknown_id_is_answered_or_hangs(mock: Make, path: str) -> None:
    method = "GET" if path == "execution/{}" else "POST"
    unknown = path.format("64f3c2a1b4e5f60012345678")
    answer = mock().call(method, unknown)
    assert answer.status_code == 404
    assert answer.json()["error_code"] == "RESOURCE_NOT_FOUND"
    with pytest.raises(httpx.ReadTimeout):
        mock(dialect=Dialect(unknown_execution="hang")).call(method, unknown, timeout=0.05)


def test_runs_belong_to_an_account(mock: Make) -> None:
    api = mock(linked_account_id="acct_token")
    api.fire()
    [run_id] = api.ids()
    other = {**api.headers, "linked_account_id": "acct_2"}
    assert api.call("GET", "execution", headers=other).json()["docs"] == []
    assert api.call("GET", f"execution/{run_id}", headers=other).status_code == 404
    bearer = {"Authorization": f"Bearer {api.server.session_token}"}
    assert api.call("POST", "event/slack", headers=bearer, json={"event": "E"}).status_code == 200
    [run] = api.call("GET", "execution", headers=bearer).json()["docs"]
    assert run["linked_account_id"] == "acct_token"
    assert api.server.ledger.entries[-2].account == "acct_token"


def test_an_execution_call_without_an_account_is_refused_with_swapped_fields(mock: Make) -> None:
    api = mock()
    answer = api.call("GET", "execution", headers={"x-api-key": api.server.api_key})
    assert answer.status_code == 400
    body = answer.json()
    assert (body["error_code"], body["http_error_type"]) == ("BAD_REQUEST", "INVALID_LINKED_ACCOUNT_ID")


def test_the_list_can_be_filtered(mock: Make, clock: Clock) -> None:
    api = mock(runs=RunPlan(count=2))
    api.fire(slug="slack")
    clock.now += 10.0
    api.fire(slug="pipedrive")
    api.server.runs.add(account="acct_1", status="RUNNING")
    runs = api.runs(sortAsc="true")["docs"]
    assert len(api.ids(slug="slack,hubspot")) == 2
    assert len(api.ids(slug="slack,pipedrive")) == 4
    assert api.ids(execution_id=runs[0]["_id"]) == [runs[0]["_id"]]
    assert len(api.ids(workflow_name="flow 2")) == 2
    assert len(api.ids(workflow_id=runs[1]["associated_workflow"]["_id"])) == 2
    assert len(api.ids(execution_source="Event")) == len(api.ids(execution_source="event")) == 4
    assert len(api.ids(execution_source="SCHEDULE")) == len(api.ids(status="RUNNING")) == 1
    assert api.ids(execution_type="SYNC") == []
    assert len(api.ids(status="All", start_date=runs[0]["createdAt"], end_date=runs[1]["createdAt"])) == 2
    assert len(api.ids(start_date=runs[2]["createdAt"])) == 3
    assert len(api.ids(instance_tag="none such")) == 5, "a filter that the server does not know is ignored"
    for query in ({"page": 0}, {"limit": "x"}, {"start_date": "yesterday"}):
        assert api.call("GET", "execution", params=query).status_code == 400


@settings(max_examples=25)
@given(total=st.integers(0, 30), limit=st.integers(1, 12))
def test_pages_counted_up_hold_each_run_once(total: int, limit: int) -> None:
    with MockRefold(rate_limit=None, dialect=Dialect(max_page_size=7)) as server:
        api = Api(server)
        known = [server.runs.add(account="acct_1").id for _ in range(total)]
        seen: list[str] = []
        page, more = 1, True
        while more:
            answer = api.runs(page=page, limit=limit)
            assert answer["limit"] == min(limit, 7), "a limit that is too large is cut"
            assert answer["pagingCounter"] == len(seen) + 1
            seen += [run["_id"] for run in answer["docs"]]
            more = answer["hasNextPage"]
            assert answer["nextPage"] == (page + 1 if more else None)
            page += 1
        assert seen == known[::-1]


def test_a_list_that_grows_while_it_is_read_shows_runs_twice(mock: Make) -> None:
    api = mock(runs=RunPlan(grows=1))
    known = [api.server.runs.add(account="acct_1").id for _ in range(6)]
    first, second = api.ids(page=1, limit=3), api.ids(page=2, limit=3)
    assert first == known[:-4:-1]
    assert second[0] == first[-1], "one new run has pushed the last one of the first page to the second"
    assert api.ids(limit=100)[0] not in known


@pytest.mark.parametrize(
    ("paging", "names"),
    [
        ("docs", {"docs"}),
        ("short", {"docs", "totalDocs", "limit", "page", "totalPages", "hasNextPage"}),
        (
            "full",
            {"docs", "totalDocs", "limit", "page", "totalPages", "hasNextPage", "hasPrevPage", "nextPage", "prevPage"}
            | {"pagingCounter"},
        ),
    ],
)
def test_the_envelope_of_a_page_has_the_fields_of_the_dialect(mock: Make, paging: str, names: set[str]) -> None:
    api = mock(dialect=Dialect(paging=paging))  # type: ignore[arg-type]
    assert set(api.runs()) == names


def test_pages_can_be_endless(mock: Make) -> None:
    api = mock(dialect=Dialect(endless_pages=True))
    assert api.runs(page=9) | {"docs": [], "hasNextPage": True} == api.runs(page=9)


def test_dropped_repeats_can_be_listed_as_duplicates(mock: Make) -> None:
    api = mock(dedupe=Dedupe(header="X-Key"), runs=RunPlan(shows_duplicates=True))
    for _ in range(2):
        api.fire({"n": 1}, **{"X-Key": "k"})
    assert [run["status"] for run in api.runs()["docs"]] == ["DUPLICATE", "COMPLETED"]


def test_the_latest_runs_are_kept(mock: Make) -> None:
    api = mock(keep=3)
    for number in range(5):
        api.fire({"n": number})
    assert [run.payload["n"] for run in api.server.runs.all()] == [2, 3, 4]
    api.server.runs.clear()
    assert api.ids() == []


def test_a_plan_that_draws_at_random_starts_the_same_runs_for_the_same_seed(mock: Make) -> None:
    def numbers(seed: int) -> list[int]:
        chance = random.Random(seed)
        api = mock(runs=RunPlan(count=lambda entry: chance.randrange(3)))
        for number in range(20):
            api.fire({"n": number})
        return [run.payload["n"] for run in api.server.runs.all()]

    assert numbers(1) == numbers(1) != numbers(2)


def test_what_a_function_of_the_plan_raises_is_raised_where_the_mock_is_left() -> None:
    def broken(entry: Entry) -> int:
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        with MockRefold(rate_limit=None, runs=RunPlan(count=broken)) as server:
            api = Api(server)
            assert api.fire() == 200
            answer = api.call("GET", "execution")
            assert answer.status_code == 500
            assert "ZeroDivisionError" in answer.text
