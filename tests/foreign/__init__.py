"""Small files as other tools write them, each with what is right to make of it."""
