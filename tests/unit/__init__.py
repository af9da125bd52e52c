"""Tests of one package each, through its own interface."""
