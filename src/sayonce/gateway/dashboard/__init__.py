"""The dashboard at ``/``: what an operator looks at first, in any browser, without anything from elsewhere."""

from sayonce.gateway.dashboard.routes import Dashboard
from sayonce.gateway.dashboard.watcher import Watcher

__all__ = ["Dashboard", "Watcher"]
