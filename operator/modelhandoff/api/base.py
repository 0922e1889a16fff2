"""What all models share: strict, frozen, camelCase outside and snake_case inside."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, ClassVar, Self, cast

from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema

from modelhandoff.api.cel import Rule, broken, violated


class Word(StrEnum):
    """A closed set of CamelCase words; read from its text even by strict models."""

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: type[Any], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        relaxed: dict[str, Any] = {**handler(source), "strict": False}
        return cast("CoreSchema", relaxed)


class SpecModel(BaseModel):
    """Part of what a person writes: only camelCase names, nothing unknown, nothing coerced.

    A default on a field is the resolved value. It never reaches the CRD: the API server would
    store it, and the hash would no longer be of what the user wrote.
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_alias=True,
        validate_by_name=False,
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        validate_default=True,
    )

    rules: ClassVar[tuple[Rule, ...]] = ()

    @model_validator(mode="after")
    def _obey_rules(self) -> Self:
        violations = broken(self.rules, self)
        if violations:
            raise violated(violations)
        return self

    @model_serializer(mode="wrap")
    def _without_unset(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # A field that is not set is absent, never null: the API server refuses null too.
        dumped: dict[str, Any] = handler(self)
        return {key: value for key, value in dumped.items() if value is not None}


class StatusModel(BaseModel):
    """Part of what the operator writes: built by either name, read leniently.

    Unknown fields are ignored when read, so that an older operator can read what a newer one
    wrote during a rolled-back upgrade.
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_alias=True,
        validate_by_name=True,
        extra="ignore",
        frozen=True,
        allow_inf_nan=False,
    )

    rules: ClassVar[tuple[Rule, ...]] = ()

    @model_serializer(mode="wrap")
    def _without_unset(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        dumped: dict[str, Any] = handler(self)
        return {key: value for key, value in dumped.items() if value is not None}
