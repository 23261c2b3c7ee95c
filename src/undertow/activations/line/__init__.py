"""An activation on the real line: the grid that it is looked at on, its notable points, its inverse."""
