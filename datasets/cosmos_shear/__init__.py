"""tfds builder `cosmos_shear`; see README.md."""
