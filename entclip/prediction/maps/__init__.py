"""Phase maps: where the signs of the clip terms flip."""
