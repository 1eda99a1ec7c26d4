"""The theory in numbers: entropy change to first and second order, by cause (T1 to T10)."""
