r"""minidalle: how a caption becomes a picture.

The road of DALL-E 2 goes through a space of vectors; each step with the file in which it lives:

    captions list[str]  --tokenizer-->  ids (B, T)            tokenizer.py
    ids (B, T)          --clip------->  text vectors (B, E)   clip.py
    text vectors (B, E) --prior------>  image vectors (B, E)  prior.py
    image vectors (B, E) --decoder--->  small pictures (B, 3, H/2, W/2)    unclip.py
    small pictures      --upsampler-->  images (B, 3, H, W) in [-1, 1]     unclip.py

The road of DALL-E writes the picture after the caption, in an alphabet of its own:

    ids (B, T)          --dalle------>  codes (B, N)                       dalle.py
    codes (B, N)        --dvae------->  images (B, 3, H, W) in [-1, 1]     dvae.py
    several of them     --clip------->  the one that fits the caption best

and, trained in the other order too, says what it sees:

    codes (B, N)        --captioner-->  ids (B, T)                         caption.py

The road of Stable Diffusion draws something smaller than a picture, among the caption's words:

    ids (B, T)          --clip------->  states of all tokens (B, T, D)     clip.py
    states              --denoiser--->  latents (B, C, h, w)               latent.py
    latents             --vae-------->  images (B, 3, H, W) in [-1, 1]     vae.py

The road of the GAN needs one pass: what a picture is, the painter has learnt from its critic.

    ids (B, T)          --clip------->  text vectors (B, E)                clip.py
    noise and vectors   --painter---->  images (B, 3, H, W) in [-1, 1]     gan.py

The road of Imagen needs no CLIP: its text encoder has never seen a picture.

    ids (B, T)          --textmodel-->  states of all tokens (B, T, D)     textonly.py
    states              --base------->  small pictures (B, 3, H/2, W/2)    imagen.py
    both                --superres--->  images (B, 3, H, W) in [-1, 1]     imagen.py

The road of flows goes straight from noise to the whole picture, in twelve steps, or in one:

    ids (B, T)          --clip------->  states of all tokens (B, T, D)     clip.py
    noise and states    --flow------->  images (B, 3, H, W) in [-1, 1]     flow.py, dit.py
    noise and states    --student---->  the same in one to four steps      dit.py

Under them lie transformer.py, unet.py and diffusion.py; data.py makes captioned pictures (pairs.py
with two digits each), train.py trains, metrics.py measures. These files are the reading room.
workshop/ makes trained roads of them, tables, pictures and the command line; course/ is what
lessons need around their text. A floor imports only from itself and from those before it.

Letters, in all files: B batch, T text tokens, N image tokens, D width of a model, H W height and
width, C channels, K codes, E joint embedding, F factors or features.
"""
import os

__version__ = "0.1.0"

# A thread that waits for its neighbour should sleep: threads that spin for long make two of them up
# to fifty times slower when the other core is busy. But it should look a little before it falls
# asleep (some 20 microseconds): the layers of small models are shorter than a nap, and without this
# a training step takes nearly twice as long. OpenMP reads both once, when torch is first imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
