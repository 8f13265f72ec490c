"""SQL in, Arrow out."""
