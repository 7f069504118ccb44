"""A classifier rewritten as a fully convolutional network, exactly.

`convert` is the way in: it takes the classifier's head apart (`heads`, into the layers of `layers`; `stage_maps`
for a linear head on pooled stages), checks that the result gives what the classifier gives, and reads off its
stride and padding (`geometry`). `agreement` measures the result against the classifier on crops. Modules of torch.
"""
