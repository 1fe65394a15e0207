"""The plan of views: which camera sees whom."""
