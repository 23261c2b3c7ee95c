"""Edits of a model or an optimizer that several cures share."""
