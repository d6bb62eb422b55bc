"""Makes torchaudio fit this environment's torch, for every process in it: python -m modalities.fit_torchaudio

See `modalities.torchaudio_guard` for why. Undone by installing torchaudio again.
"""

from modalities.torchaudio_guard import unloadable

_OFF = ".needs-cuda"


def main() -> None:
    """Rename the libraries that need CUDA, so that torchaudio, and so transformers, can be imported without them."""
    found = unloadable()
    for library in found:
        library.rename(library.with_name(library.name + _OFF))
    if found:
        print(f"Renamed {len(found)} libraries of torchaudio that need a CUDA that torch here lacks to *{_OFF}.")
    else:
        print("Nothing to do: torchaudio is absent, or its libraries fit this torch.")


if __name__ == "__main__":
    main()
