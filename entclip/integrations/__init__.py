"""Other people's trainers: reading configurations."""
