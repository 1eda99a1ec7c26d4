"""What weight an objective gives a sample (T4, T10)."""
