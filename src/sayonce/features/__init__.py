"""Remembered functions and their values: the library's face, tensors as bytes, and adapters for engines; no speech.

``library`` has the caches that ``import sayonce`` offers, ``remember`` the functions, ``tensors`` the codec of values.
"""
