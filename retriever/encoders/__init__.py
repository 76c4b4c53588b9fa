"""Texts to vectors, and the engines that do it. No index and no server enters."""
