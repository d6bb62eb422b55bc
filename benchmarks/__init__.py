import modalities  # noqa: F401  torchaudio must be left out before anything imports transformers
