from modalities.torchaudio_guard import leave_out

leave_out()  # before anything here imports transformers
