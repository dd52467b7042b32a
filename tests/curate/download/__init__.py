"""Tests of curate.download."""
