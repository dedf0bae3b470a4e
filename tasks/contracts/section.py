"""What the sections of a recipe have in common."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, GetJsonSchemaHandler
from pydantic_core import PydanticCustomError

SECRET = re.compile(r"://[^/]*@|[?&](X-(Amz|Goog)-|[^=]*(sig|token|key|secret|password)[^=]*=)", re.IGNORECASE)


def _without_secret(address: str) -> str:
    """Refuse an address that is a key at the same time: recipes are stored, shown in the Prefect UI, and named in messages."""
    if SECRET.search(address):
        raise PydanticCustomError("secret", "an address with a password or a signature in it; give that in the environment")
    return address


Address = Annotated[str, AfterValidator(_without_secret)]


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
