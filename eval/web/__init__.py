"""What the pages of this project share: the app around them, its address, their look."""
