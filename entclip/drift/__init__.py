"""The theory in numbers: cumulants (T1 to T3), first order (T5, T6, T10), second order (T8), noise-driven drift (T9)."""
