"""Networks that answer at every pixel: an encoder whose maps grow coarse, a decoder that finds the way back."""
