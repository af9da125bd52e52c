"""Adapters that make real engines run their encoders once a voice, and do not speak themselves.

``tts = sayonce.adapters.indextts2.wrap(IndexTTS2(...), cache)``

Each module has ``wrap(engine, cache)``, which returns the same object: the same class, the same calls. The engine's
code stays as it is; only attributes of this one instance are set. Features are kept under the decoded samples of the
reference, the engine's code, its weights, and every argument that they depend on. An engine is wrapped once: wrapping it
again is a ``RuntimeError``.
"""

from sayonce.features.adapters import chatterbox, cosyvoice, generic, index_tts_onnx, indextts2, resemblyzer, xtts

__all__ = ["chatterbox", "cosyvoice", "generic", "index_tts_onnx", "indextts2", "resemblyzer", "xtts"]
