"""The forms that DATA can have, one a file; `list_data.py` tries them in turn."""
