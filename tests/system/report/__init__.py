"""What the report says, and that nothing in it can do harm."""
