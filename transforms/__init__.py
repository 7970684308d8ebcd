"""The steps that Albumen's jobs are made of: pure functions, and thin Beam transforms on them."""
