"""A CT becomes X-ray images: materials, spectrum, noise, tools."""
