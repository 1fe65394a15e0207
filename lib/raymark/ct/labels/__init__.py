"""Label maps of every kind that users hold, brought to the CT's grid with the structures' names."""
