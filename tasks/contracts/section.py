"""What the sections of a recipe have in common."""

from typing import Any

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler


class Section(BaseModel):
    """Frozen, and closed: a key that nobody knows is a typing error, not a wish."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: Any, handler: GetJsonSchemaHandler) -> Any:
        """Call a choice of kinds anyOf: of oneOf, which pydantic says, the Prefect UI makes no form but a field for JSON."""
        schema = handler(core_schema)
        for field in handler.resolve_ref_schema(schema).get("properties", {}).values():
            if "oneOf" in field:
                field["anyOf"] = field.pop("oneOf")
                field.pop("discriminator", None)
        return schema
