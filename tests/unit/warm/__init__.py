"""Clips and features made ahead."""
