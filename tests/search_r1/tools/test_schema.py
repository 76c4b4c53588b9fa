import json

import pytest

from search_r1.tools.python.file import load_function
from search_r1.tools.python.signatures import FunctionArguments
from search_r1.tools.schema import (
    check_schema,
    describe_parameters,
    find_mistakes,
    make_schema,
    make_validator,
)


def parameters(**properties):
    return {
        "type": "object",
        "properties": properties,
        "required": sorted(properties)[:1],
        "additionalProperties": False,
    }


@pytest.fixture
def arguments_of(functions_file):
    return lambda name: FunctionArguments(load_function(functions_file, name))


def test_signature_and_docstring_become_a_schema(arguments_of):
    add = arguments_of("add")
    assert add.description.splitlines()[0] == "Add two numbers."
    assert add.parameters == {
        "type": "object",
        "properties": {
            "a": {"type": "integer", "description": "The first number."},
            "b": {"type": "integer", "description": "The second number.", "default": 2},
        },
        "required": ["a"],
        "additionalProperties": False,
    }


def test_every_type_has_a_schema_and_arrives_as_that_type(arguments_of, functions_file):
    everything = arguments_of("everything")
    properties = everything.parameters["properties"]
    assert properties["names"] == {"type": "array", "items": {"type": "string"}}
    assert properties["mode"] == {"type": "string", "enum": ["fast", "slow"]}
    assert properties["limit"]["anyOf"] == [{"type": "integer"}, {"type": "null"}]
    assert properties["schema"] == {"type": "string", "default": "x"}
    assert everything.parameters["$defs"]["Unit"]["enum"] == ["m", "ft"]
    given = {
        "text": "t",
        "number": 1,
        "flag": True,
        "names": [],
        "table": {},
        "mode": "fast",
        "unit": "ft",
        "point": {"x": 1.5},
        "options": {"digits": 3},
        "schema": "y",
    }
    assert find_mistakes(make_validator("everything", everything.parameters), given) == []
    converted = everything.convert(given)
    assert set(converted) == set(given)
    function = load_function(functions_file, "everything")
    assert function(**converted) == "FOOT 1.5 3 None y <class 'str'>"


def test_decorated_function_keeps_its_signature(arguments_of):
    assert list(arguments_of("decorated").parameters["properties"]) == ["a"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("untyped", "parameter 'a' of untyped has no type"),
        ("starred", r"parameter '\*values: int' of starred cannot be given by name"),
        ("unspeakable", "parameter of unspeakable has a type without a JSON form"),
    ],
)
def test_function_that_cannot_be_described_is_refused(arguments_of, name, message):
    with pytest.raises(ValueError, match=message):
        arguments_of(name)


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "strin"}, "no JSON schema: properties/x/type: 'strin' is not valid"),
        ({"type": "string", "pattern": "("}, "no JSON schema: properties/x/pattern"),
        ({"minimum": "3"}, "no JSON schema: properties/x/minimum"),
        ({"default": {1, 2}}, "cannot be written as JSON"),
        ({"$ref": "#/$defs/none"}, "refer to '#/\\$defs/none', which they do not hold"),
        ({"$ref": "http://127.0.0.1:9/x.json"}, "nothing is fetched"),
    ],
)
def test_schema_that_is_none_is_refused_at_once(schema, message):
    with pytest.raises(ValueError, match=message):
        make_schema("t", "A test.", parameters(x=schema))


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"name": "a b"}, "tool's name is 'a b'; expected 1 to 64 letters"),
        ({"name": "t", "description": " "}, "'t' has no description"),
        ({"name": "t", "description": "d", "parameters": {"type": "string"}}, "expected a JSON"),
        ({"name": "t", "description": "d"}, "the parameters of tool 't' are null"),
    ],
)
def test_function_schema_that_is_none_is_refused(schema, message):
    with pytest.raises(ValueError, match=message):
        check_schema(schema)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"a": "x"}, []),
        ({}, ['argument "a" is missing; expected string']),
        ({"a": 3}, ['argument "a" is 3; expected string']),
        ({"a": None}, ['argument "a" is null; expected string']),
        ({"a": ""}, ['argument "a" is ""; expected minLength 1']),
        ({"a": "x", "q": 1}, ['there is no argument "q"; expected a, d, n, u']),
        ({"a": "x", "n": 5}, ['argument "n" is 5; expected "one" or "two"']),
        ({"a": "x", "u": []}, ['argument "u" is []; expected integer or null']),
        ({"a": "x", "d": [{"y": 1}, {}]}, ['argument "y" is missing in argument "d[1]"; expected']),
        ("text", ['the list of arguments is "text"; expected object']),
        ({"a": "z" * 500 + "\n"}, ["expected maxLength 400"]),
    ],
)
def test_a_mistake_says_what_was_given_and_what_is_expected(given, told):
    validator = make_validator(
        "t",
        parameters(
            a={"type": "string", "minLength": 1, "maxLength": 400},
            d={"type": "array", "items": {"type": "object", "required": ["y"]}},
            n={"enum": ["one", "two"]},
            u={"anyOf": [{"type": "integer"}, {"type": "null"}]},
        ),
    )
    mistakes = find_mistakes(validator, given)
    assert len(mistakes) == len(told)
    assert all(part in mistake for part, mistake in zip(told, mistakes, strict=True))
    assert all(len(mistake) < 200 for mistake in mistakes)


def test_many_mistakes_are_told_as_three_and_a_number():
    schema = {"type": "object", "required": list("abcde"), "properties": {}}
    mistakes = find_mistakes(make_validator("t", schema), {})
    assert [m.split()[1] for m in mistakes[:3]] == ['"a"', '"b"', '"c"']
    assert mistakes[3:] == ["and 2 more mistakes"]


def test_deep_nesting_is_a_mistake_and_no_crash():
    schema = {
        "type": "object",
        "properties": {"x": {"$ref": "#/$defs/list"}},
        "$defs": {"list": {"type": "array", "items": {"$ref": "#/$defs/list"}}},
    }
    deep = []
    for _ in range(5000):
        deep = [deep]
    assert find_mistakes(make_validator("t", schema), {"x": deep})


def test_a_number_too_large_to_check_is_a_mistake_and_no_crash():
    validator = make_validator("t", parameters(x={"multipleOf": 0.5}))
    for number in (10**400, -(10**400), float("inf"), float("nan")):
        assert find_mistakes(validator, {"x": number}) == ["a number is too large"]
    bounded = make_validator("t", parameters(x={"minimum": 0.5}))
    assert find_mistakes(bounded, {"x": 10**400}) == []


def test_a_number_too_long_to_be_quoted_is_a_mistake_and_no_crash():
    validator = make_validator("t", parameters(x={"type": "string"}))
    assert find_mistakes(validator, {"x": 10**5000}) == ["a number is too large"]


def test_parameters_are_listed_in_a_line():
    schema = parameters(a={"type": "string"}, n={"type": ["integer", "null"]})
    assert describe_parameters(schema) == "a (string, required), n (integer or null)"
    assert describe_parameters({"type": "object"}) == "none"


def test_schemas_are_plain_json(arguments_of):
    assert json.loads(json.dumps(arguments_of("everything").parameters))


def test_a_parameter_may_have_any_name():
    def odd(model_config: str, _x: int = 1) -> None:
        """Take odd names."""

    assert FunctionArguments(odd).convert({"model_config": "a", "_x": 2}) == {
        "model_config": "a",
        "_x": 2,
    }


def test_unresolvable_annotation_is_refused():
    def lost(a: "Nowhere") -> None:  # noqa: F821
        """Take what is not there."""

    with pytest.raises(ValueError, match=r"annotation of .*lost cannot be resolved"):
        FunctionArguments(lost)
