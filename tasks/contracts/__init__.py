"""What the rooms of the house agree on: the recipe, the values that travel, the errors.

`recipe.py` alone needs pydantic; everything else is the standard library, so that training runs on an image without it.
"""
