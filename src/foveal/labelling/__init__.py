"""`foveal label`: groups of similar images, what is most worth labelling next, and labels that survive a kill.

No web server here: `serving/label_api.py` shows a `Session` to a browser.
"""
