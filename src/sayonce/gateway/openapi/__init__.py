"""The description of the API: one OpenAPI 3.1 document of every route, and the page that shows it; the routes are in `gateway`."""

from sayonce.gateway.openapi.api import description, document, page
from sayonce.gateway.openapi.paths import everywhere

__all__ = ["description", "document", "everywhere", "page"]
