"""What shared parameters change: the study with the head of a language model."""
