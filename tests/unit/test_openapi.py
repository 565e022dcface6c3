"""The OpenAPI document: what it is made of, and that it says all that the project promises of the interface."""

import re
from typing import Any

import jsonschema_rs
import msgspec
import pytest
import schemathesis

from tests.documents import references
from tests.unit.openapi_check import DOCUMENT
from tests.unit.web_house import gateway
from web import openapi_headers
from web.openapi import TAGS
from web.openapi_problems import PROBLEM_TYPE, problems_of
from web.operations import Operation
from web.problems import PROBLEMS
from web.routes import OPERATIONS

SCHEMES = [{"bearer": []}, {"cookie": []}]
every_operation = pytest.mark.parametrize("one", OPERATIONS, ids=lambda one: one.name)


def described(one: Operation) -> dict[str, Any]:
    found: dict[str, Any] = DOCUMENT["paths"][one.path][one.method.lower()]
    return found


def test_it_is_a_document_of_openapi_3_1() -> None:
    served = msgspec.json.decode(msgspec.json.encode(DOCUMENT))
    schemathesis.openapi.from_dict(served).validate()
    del served["info"]["version"]
    with pytest.raises(jsonschema_rs.ValidationError):
        schemathesis.openapi.from_dict(served).validate()


def test_every_operation_is_in_it_once_by_a_name_of_its_own() -> None:
    found = [one["operationId"] for path in DOCUMENT["paths"].values() for one in path.values()]
    assert sorted(found) == sorted(one.name for one in OPERATIONS)
    assert len(set(found)) == len(found)
    assert all(re.fullmatch(r"[a-z]+([A-Z][a-z]+)*", name) for name in found)


def test_whatever_it_refers_to_is_there_and_whatever_is_there_is_referred_to() -> None:
    there = {f"#/components/{kind}/{name}" for kind in ("schemas", "headers") for name in DOCUMENT["components"][kind]}
    assert set(references(DOCUMENT)) == there
    assert all(re.fullmatch(r"[A-Z][A-Za-z]+", name) for name in DOCUMENT["components"]["schemas"])


def test_every_schema_is_one_and_every_example_is_as_it_says() -> None:
    for name, schema in DOCUMENT["components"]["schemas"].items():
        jsonschema_rs.Draft202012Validator(_whole(schema))
        for field, one in schema.get("properties", {}).items():
            for example in one.get("examples", ()):
                assert jsonschema_rs.is_valid(_whole(one), example), (name, field, example)


@every_operation
def test_its_examples_are_as_it_says(one: Operation) -> None:
    found = described(one)
    contents = [content for answer in found["responses"].values() for content in answer.get("content", {}).values()]
    for where in (*found["parameters"], *contents):
        jsonschema_rs.Draft202012Validator(_whole(where["schema"]))
        assert "example" not in where or jsonschema_rs.is_valid(_whole(where["schema"]), where["example"]), where


def _whole(schema: dict[str, Any]) -> dict[str, Any]:
    return {**schema, "components": DOCUMENT["components"]}


def test_everything_that_a_person_sends_is_described_and_has_an_example() -> None:
    for name in {one.body.__name__ for one in OPERATIONS if one.body is not None}:
        schema = DOCUMENT["components"]["schemas"][name]
        assert schema["additionalProperties"] is False, name
        for field, one in schema["properties"].items():
            resolved = DOCUMENT["components"]["schemas"].get(one.get("$ref", "").rpartition("/")[2], one)
            says = resolved.keys() & {"description", "enum", "examples"} or resolved["type"] == "boolean"
            assert says, (name, field)


@every_operation
def test_it_has_all_that_people_look_for(one: Operation) -> None:
    found = described(one)
    assert found["tags"] == [one.tag]
    assert one.tag in TAGS
    assert found["summary"] == one.summary
    assert one.summary[0].isupper()
    assert not one.summary.endswith(".")
    assert all(parameter["description"] for parameter in found["parameters"])
    in_path = [parameter["name"] for parameter in found["parameters"] if parameter["in"] == "path"]
    assert in_path == re.findall(r"\{(\w+)\}", one.path)
    assert all(answer["description"] for answer in found["responses"].values())


@every_operation
def test_it_says_who_may(one: Operation) -> None:
    found = described(one)
    if one.who != "anybody":
        assert found["security"] == SCHEMES
        assert "401" in found["responses"]
    elif one.is_command:
        assert found["security"] == []
    else:
        assert found["security"] == [{}, *SCHEMES]
    assert ("not_allowed" in problems_of(one)) == (
        one.who not in ("anybody", "member") or "not_allowed" in one.problems
    )


@every_operation
def test_every_problem_is_there_with_its_status_and_the_headers_that_belong_to_it(one: Operation) -> None:
    answers = described(one)["responses"]
    for code in problems_of(one):
        answer = answers[str(PROBLEMS[code][0])]
        assert f"`{code}`" in answer["description"]
        assert list(answer["content"]) == [PROBLEM_TYPE]
        assert code in answer["content"][PROBLEM_TYPE]["schema"]["allOf"][1]["properties"]["code"]["enum"]
    for status in ("429", "503"):
        assert "Retry-After" in answers[status]["headers"]
    for status, answer in answers.items():
        assert "Request-Id" in answer["headers"]
        assert status != "401" or "WWW-Authenticate" in answer["headers"]
        if status < "400":
            assert {"RateLimit", "RateLimit-Policy"} <= answer["headers"].keys()


@every_operation
def test_a_command_may_be_pending_and_a_read_unchanged(one: Operation) -> None:
    found = described(one)
    answers, sent = found["responses"], {parameter["name"] for parameter in found["parameters"]}
    if one.is_command:
        assert {"Location", "Command-Id", "Read-After"} <= answers["202"]["headers"].keys()
        assert {"Idempotency-Key", "Prefer"} <= sent
        assert {"idempotency_key_reused", "kafka_unavailable"} <= set(problems_of(one))
        [schema] = [content["schema"] for content in answers["202"]["content"].values()]
        assert "command" in DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]]["required"]
    else:
        assert "content" not in answers["304"]
        assert {"ETag", "X-Source", "X-As-Of"} <= answers["200"]["headers"].keys()
        assert {"Read-After", "If-None-Match"} <= sent


def test_every_header_of_it_is_described() -> None:
    assert all(header["description"] and header["schema"] for header in openapi_headers.COMPONENTS.values())


async def test_nothing_is_served_under_v1_that_is_not_in_it() -> None:
    async with gateway() as house:
        assert house.client.app is not None
        found = [(route.method, route.resource) for route in house.client.app.router.routes()]
    served = {(method, resource.canonical) for method, resource in found if resource and method not in ("HEAD", "*")}
    assert {each for each in served if each[1].startswith("/v1")} == {
        ("GET", "/v1/openapi.json"),
        ("GET", "/v1/asyncapi.json"),
        *((one.method, one.path) for one in OPERATIONS),
    }
