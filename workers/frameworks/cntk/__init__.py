"""CNTK 2.7, the last release."""
