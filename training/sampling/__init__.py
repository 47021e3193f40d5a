"""Pure arithmetic of which sample comes when: arrays in, arrays out."""
