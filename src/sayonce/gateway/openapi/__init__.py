"""The description of the API: one OpenAPI 3.1 document of every route; the routes themselves are in `gateway`."""

from sayonce.gateway.openapi.api import description, document

__all__ = ["description", "document"]
