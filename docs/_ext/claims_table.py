"""The table of code in docs/theory.md, from claims.toml; `python docs/_ext/claims_table.py` prints it."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

_CLAIMS = Path(__file__).resolve().parents[2] / "claims.toml"


def claims_table() -> str:
    """Markdown: one row per claim that a function stands for, with the function and the other modules that name the claim."""
    rows = ["| claim | function | also in |", "|---|---|---|"]
    for record in tomllib.loads(_CLAIMS.read_text())["claim"]:
        if "function" in record:
            rows.append(f"| [{record['id']}](#{record['id'].lower()}) | `{_short(record['function'])}` | {_also(record)} |")
    return "\n".join(rows)


def _also(record: dict[str, Any]) -> str:
    return ", ".join(f"`{_short(name)}`" for name in record.get("also", []))


def _short(name: str) -> str:
    return name.removeprefix("entclip.")


if __name__ == "__main__":
    print(claims_table())
