"""Fixtures are configurations, some of them scripts of other libraries: they are read and never imported."""

from __future__ import annotations

collect_ignore_glob = ["fixtures/*"]
