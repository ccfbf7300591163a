"""The images of a run: which platforms of each are chosen, and the one list of all that is saved."""
