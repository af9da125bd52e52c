"""Tests of the project itself: its documents, its examples and the rules of its code."""
