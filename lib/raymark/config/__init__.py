"""The configuration: every key a user can set, and the project that its files make together."""
