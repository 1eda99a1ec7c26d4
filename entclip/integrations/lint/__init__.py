"""Reading a trainer's configuration: is its clip alive, which side is which, and which traps apply."""

from entclip.integrations.lint.report import Report, convert, lint, read_config

__all__ = ["Report", "convert", "lint", "read_config"]
