"""Keep libraries from telling their makers of their use."""

from __future__ import annotations

import os


def keep_quiet() -> None:
    """Switch the telemetry of onnxruntime off, which its wheels of PyPI have; to be called before it is imported.

    From 1.32 on it asks for an address of its maker's, and keeps an id of the machine in the home directory. An
    operator who has set ``ORT_DISABLE_TELEMETRY`` has decided.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
