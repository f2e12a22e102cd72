r"""minidalle: how a caption becomes a picture.

The road of DALL-E 2, with the file in which each step lives:

    captions list[str]  --tokenizer-->  ids (B, T)            tokenizer.py
    ids (B, T)          --clip------->  text vectors (B, E)   clip.py
    text vectors (B, E) --prior------>  image vectors (B, E)  prior.py
    image vectors (B, E) --decoder--->  small pictures (B, 3, H/2, W/2)    unclip.py
    small pictures      --upsampler-->  images (B, 3, H, W) in [-1, 1]     unclip.py

Under them lie transformer.py, unet.py and diffusion.py; data.py makes captioned pictures, train.py
trains, metrics.py measures, recipes.py says how our models are made.

Letters, in all files: B batch, T text tokens, N image tokens, D width of a model, H W height and
width, C channels, K codes, E joint embedding, F factors or features.
"""
import os

# A thread that waits for its neighbour should sleep: spinning ones make two threads up to fifty
# times slower when the other core is busy. OpenMP reads this once, when torch is first imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
