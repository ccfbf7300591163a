"""Documents, help, completion, the manual: what they say is so."""
