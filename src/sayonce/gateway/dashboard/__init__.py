"""The dashboard at ``/``: its page and its figures; the routes that change something are in `gateway`."""

from sayonce.gateway.dashboard.routes import Dashboard

__all__ = ["Dashboard"]
