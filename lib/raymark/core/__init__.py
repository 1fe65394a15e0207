"""What every package uses: errors, files, seeds, digests, sections of a configuration."""
