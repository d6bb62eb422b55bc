"""One thread for every test: tensors are tiny, and how many threads share a sum decides its last bit."""

import torch

torch.set_num_threads(1)
