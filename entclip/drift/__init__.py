"""The theory in numbers: entropy change to first and second order, by cause (T1 to T10, T14 to T17)."""
