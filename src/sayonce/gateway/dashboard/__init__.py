"""The dashboard at ``/``: what an operator looks at first, in any browser, without anything from elsewhere."""

from sayonce.gateway.dashboard.routes import Dashboard

__all__ = ["Dashboard"]
