"""Tests of what users are promised, through the whole: real servers, faults, clients and attackers."""
