# DACS (Tranheden et al., WACV 2021) as DAFormer's code base runs it.
uda = dict(
    type="SelfTraining",
    alpha=0.99,
    pseudo_threshold=0.968,
    jitter_probability=0.8,  # effective; the published configs give the complement, 0.2
    jitter_strength=0.2,
    blur_probability=0.5,
)
