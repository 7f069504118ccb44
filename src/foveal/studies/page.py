"""A study's page: one file, no network request."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any


def render(study: Mapping[str, Any]) -> str:
    """The page of a study, from the content of its `study.json` alone."""
    title, claim = html.escape(str(study["name"])), html.escape(str(study["claim"]))
    return f"<!doctype html><meta charset=utf-8><title>{title}</title><h1>{claim}</h1><p>{study['verdict']}</p>\n"
