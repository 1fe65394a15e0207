"""Set-up of a patient on the treatment couch: how far the patient lies from the plan, from one MV
image against the kV rendering of the plan, by landmarks and by intensities (docs/radiotherapy.md)."""
