"""What a field says of itself, and what all groups of fields share."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

NUMBERS = (int, float, float | None)
"""The types of fields that are numbers."""


def field(default: object, unit: str, help: str, *, example: str = "", **limits: Any) -> Any:
    """A field with what the example file, `check` and the reference page say of it."""
    return Field(default, description=help, json_schema_extra={"unit": unit, "example": example}, **limits)


class Group(BaseModel):
    """Settings that belong together. Settings is put together from groups; none of them is used alone."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_as_number(cls, value: object, about: ValidationInfo) -> object:
        # Python takes true for 1; in a file it is a slip.
        if isinstance(value, bool) and cls.model_fields[about.field_name or ""].annotation in NUMBERS:
            raise ValueError("a number")
        return value
