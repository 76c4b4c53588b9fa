"""The arguments of a Python function: their JSON schema, and JSON values made into them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, get_type_hints

import docstring_parser
from pydantic import BaseModel, ConfigDict, Field, PydanticUserError, create_model
from pydantic.json_schema import GenerateJsonSchema

_NAMELESS = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class _UntitledJsonSchema(GenerateJsonSchema):
    """Pydantic's generator without a title per field: they cost tokens and repeat the names."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


class FunctionArguments:
    """What one function takes, read from its annotations and its docstring.

    Args:
        function: Every parameter needs a type and must be passable by name.

    Raises:
        ValueError: If a parameter has no type, no name or a type without a JSON form.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        name = getattr(function, "__qualname__", repr(function))
        docstring = docstring_parser.parse(inspect.getdoc(function) or "")
        self.description = docstring.description or ""
        told = {param.arg_name: param.description for param in docstring.params}
        types = _parameter_types(function, name)
        self._names = {f"argument_{i}": parameter for i, parameter in enumerate(types)}
        defaults = {
            parameter.name: parameter.default
            for parameter in inspect.signature(function).parameters.values()
            if parameter.default is not inspect.Parameter.empty
        }
        # Fields have names of their own, because a model refuses some ("schema", "_x") as fields.
        fields = {
            field: (
                types[parameter],
                Field(
                    defaults.get(parameter, ...), alias=parameter, description=told.get(parameter)
                ),
            )
            for field, parameter in self._names.items()
        }
        try:
            self._model: type[BaseModel] = create_model(
                "Arguments", __config__=ConfigDict(extra="forbid"), **fields
            )  # type: ignore[call-overload]
            schema = self._model.model_json_schema(schema_generator=_UntitledJsonSchema)
        except PydanticUserError as error:
            raise ValueError(
                f"a parameter of {name} has a type without a JSON form "
                f"({str(error).splitlines()[0]}); expected str, int, float, bool, list, dict, "
                "Literal, Enum, a dataclass or a TypedDict."
            ) from error
        schema.pop("title")
        self.parameters: dict[str, Any] = schema

    def convert(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Make JSON values into what the function takes: enum members, dataclasses, sets.

        Returns:
            Only the arguments given; the function's own defaults do the rest.

        Raises:
            pydantic.ValidationError: If a value does not fit its type.
        """
        model = self._model.model_validate(arguments)
        return {self._names[field]: getattr(model, field) for field in model.model_fields_set}


def _parameter_types(function: Callable[..., Any], name: str) -> dict[str, Any]:
    """Give the type of every parameter, in order."""
    try:
        hints = get_type_hints(function, include_extras=True)
    except NameError as error:
        raise ValueError(
            f"an annotation of {name} cannot be resolved ({error}); import that name at the top "
            "of the file, outside of TYPE_CHECKING."
        ) from error
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in _NAMELESS or parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
            raise ValueError(
                f"parameter {str(parameter)!r} of {name} cannot be given by name; name every "
                "parameter, and let a decorator keep the signature (functools.wraps)."
            )
        if parameter.name not in hints:
            raise ValueError(
                f"parameter {parameter.name!r} of {name} has no type, so the model cannot be told "
                f"what to pass; annotate it, for example {parameter.name}: str."
            )
    return {parameter: hints[parameter] for parameter in inspect.signature(function).parameters}
