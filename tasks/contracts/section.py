"""What the sections of a recipe have in common."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, GetJsonSchemaHandler
from pydantic.fields import ComputedFieldInfo, FieldInfo
from pydantic_core import PydanticCustomError

SECRET = re.compile(r"://[^/]*@|[?&](X-(Amz|Goog)-|[^=]*(sig|token|key|secret|password)[^=]*=)", re.IGNORECASE)


def _without_secret(address: str) -> str:
    """Refuse an address that is a key at the same time: recipes are stored, shown in the Prefect UI, and named in messages."""
    if SECRET.search(address):
        raise PydanticCustomError("secret", "an address with a password or a signature in it; give that in the environment")
    return address


Address = Annotated[str, AfterValidator(_without_secret)]


def _title(name: str, _: FieldInfo | ComputedFieldInfo) -> str:
    """Return what the form calls a field."""
    words = re.sub("^n_", "number_of_", name).replace("_", " ")
    return words[0].upper() + words[1:]


class Section(BaseModel):
    """Frozen, and closed: a key that nobody knows is a typing error, not a wish."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, field_title_generator=_title)

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: Any, handler: GetJsonSchemaHandler) -> Any:
        """Say what the form in the Prefect UI needs to know, and pydantic does not say.

        The order of the fields: PostgreSQL keeps none. And a choice of kinds as anyOf: of oneOf it makes no form but a field for JSON.
        """
        schema = handler(core_schema)
        for place, field in enumerate(handler.resolve_ref_schema(schema).get("properties", {}).values()):
            field["position"] = place
            if "oneOf" in field:
                field["anyOf"] = field.pop("oneOf")
                field.pop("discriminator", None)
        return schema
