"""Logins: where they are kept, what a registry demands, and the tokens that it gives for them."""
