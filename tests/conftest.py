"""One thread for every test: tensors are tiny, and how many threads share a sum decides its last bit."""

import torch

import modalities  # noqa: F401  torchaudio must be left out before anything imports transformers

torch.set_num_threads(1)
