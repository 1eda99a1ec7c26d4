"""Arrays of numpy or torch, keyed random streams, errors, files written whole."""
