"""Albumen's jobs, one module a command, and the command line in front of them."""
