"""Other people's trainers: reading configurations and logs."""
