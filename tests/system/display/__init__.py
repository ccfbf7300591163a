"""What a person sees while a save runs, and when it is over."""
